{{- define "sluice.name" -}}
{{- .Release.Name | trunc 52 | trimSuffix "-" -}}
{{- end -}}

{{- define "sluice.selector" -}}
app.kubernetes.io/name: sluice
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{- define "sluice.labels" -}}
{{ include "sluice.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
{{- end -}}

{{/* Seconds from the pod's first signal to the SIGKILL. */}}
{{- define "sluice.podGrace" -}}
{{- add (int .Values.grace.preStop) (int .Values.grace.app) -}}
{{- end -}}

{{/* Variables, from a map of values and a map of references to Secrets. */}}
{{- define "sluice.env" -}}
{{- range $name, $value := .env }}
- name: {{ $name }}
  value: {{ $value | toString | quote }}
{{- end }}
{{- range $name, $ref := .secrets }}
- name: {{ $name }}
  valueFrom:
    secretKeyRef:
      name: {{ required (printf "the Secret of %s needs a name" $name) $ref.name }}
      key: {{ required (printf "the Secret of %s needs a key" $name) $ref.key }}
{{- end }}
{{- end -}}
