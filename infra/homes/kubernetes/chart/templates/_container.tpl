{{/*
The sidecar as one entry of initContainers (sidecar.native) or of containers, for
this chart and for charts of your own:

  initContainers:
    {{- include "sluice.container" (dict "Values" .Values.sluice) | nindent 4 }}

Its pod needs terminationGracePeriodSeconds: grace.preStop + grace.app.
*/}}
{{- define "sluice.container" -}}
{{- $sidecar := .Values.sidecar -}}
{{- if not (hasKey $sidecar.secrets "DATABASE_URL") }}{{ if not (hasKey $sidecar.env "DATABASE_URL") }}{{ fail "sidecar.secrets.DATABASE_URL is required: {name: SECRET, key: KEY}" }}{{ end }}{{ end -}}
- name: sluice
  image: {{ required "sidecar.image is required" $sidecar.image | quote }}
  imagePullPolicy: {{ $sidecar.imagePullPolicy }}
  args: ["serve"]
  {{- if $sidecar.native }}
  restartPolicy: Always
  {{- end }}
  env:
    - name: REPLICA_NAME
      valueFrom:
        fieldRef:
          fieldPath: metadata.name
    - name: APP_URL
      value: http://127.0.0.1:{{ .Values.app.port }}
    - name: APP_HEALTH_PATH
      value: {{ .Values.app.healthPath }}
    - name: STARTUP_GATE
      value: app
    - name: TERMINATION_GRACE_SECONDS
      value: {{ ternary .Values.grace.sidecar (include "sluice.podGrace" .) $sidecar.native | toString | quote }}
    {{- with include "sluice.env" $sidecar | trim }}
    {{- . | nindent 4 }}
    {{- end }}
  ports:
    - name: webhooks
      containerPort: 8080
    - name: probes
      containerPort: 8081
  # The app is started once this passes, so it must not wait for the app:
  # /startupz here would be a deadlock.
  startupProbe:
    httpGet: {path: /livez, port: probes}
    periodSeconds: 1
    timeoutSeconds: 3
    failureThreshold: 60
  # 503 until the app has been healthy once, then the same as /readyz: a broken
  # version takes no traffic, and a pod whose app is away stays in the Service.
  readinessProbe:
    httpGet: {path: /startupz, port: probes}
    periodSeconds: 5
    timeoutSeconds: 3
    failureThreshold: 3
  livenessProbe:
    httpGet: {path: /livez, port: probes}
    periodSeconds: 10
    timeoutSeconds: 5
    failureThreshold: 6
  resources:
    {{- toYaml $sidecar.resources | nindent 4 }}
  securityContext:
    allowPrivilegeEscalation: false
    readOnlyRootFilesystem: true
    runAsNonRoot: true
    runAsUser: 65532
    capabilities:
      drop: [ALL]
    seccompProfile:
      type: RuntimeDefault
{{- end -}}
