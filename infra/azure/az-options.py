#!/usr/bin/env python3
"""Writes testdata/az-options.json anew from the published reference of the Azure CLI.

Microsoft generates that reference from the command table of each release, so it
has every command with every option, aliases and short forms included. It is in
github.com/MicrosoftDocs/azure-docs-cli, docs-ref-autogen:

    az-options.py CLONE [REVISION]

The commands are those that the table has; add a name with an empty list to get
its options. Options that all commands share are under the empty name.
"""

import json
import pathlib
import re
import subprocess
import sys

TABLE = pathlib.Path(__file__).parent / "testdata" / "az-options.json"
REFERENCE = "docs-ref-autogen/Latest-version/latest"
NOTES = "docs-ref-conceptual/Latest-version/release-notes-azure-cli.md"


def git(clone, *arguments):
    return subprocess.run(["git", "-C", clone, *arguments], check=True, stdout=subprocess.PIPE, text=True).stdout


def page(command):
    """The page of the group that the command is in; the top has a page of its own."""
    group = command.split()[:-1]
    return "/".join([REFERENCE, *(group or ["reference-index"])]) + ".yml"


def options_of(text, command):
    """Reads the options of one command off its group's page.

    The pages have one layout: a command starts in column 0 and its keys are in
    column 2, so that no YAML reader is needed; prose is indented deeper. What an
    extension defines or redefines is left out: on a terminal az first asks whether
    to install it, at a prompt that a script's redirections hide, and elsewhere it
    installs it without asking (azure.cli.core.extension.dynamic_install).
    """
    found = set()
    for entry in re.split(r"(?m)^- uid: ", text)[1:]:
        keys = dict(re.findall(r"(?m)^  (name|sourceType): (.*)$", entry))
        if keys["name"] != f"az {command}" or keys["sourceType"] != "Core":
            continue
        for section in re.findall(r"(?m)^  \w+Parameters:\n((?:  (?:- |  ).*\n|\n)*)", entry):
            for names in re.findall(r"(?m)^  (?:- |  )name: (-.*)$", section):
                found.update(names.split())
    return found


def main(clone, revision="HEAD"):
    commit = git(clone, "rev-parse", revision).strip()
    release = re.search(r"(?m)^Version ([\d.]+)", git(clone, "show", f"{commit}:{NOTES}")).group(1)
    commands = {}
    for name in json.loads(TABLE.read_text())["Commands"]:
        if name:
            commands[name] = options_of(git(clone, "show", f"{commit}:{page(name)}"), name)
    unknown = [name for name, options in commands.items() if not options]
    if unknown:
        sys.exit(f"not in azure-cli {release}: {', '.join(unknown)}")
    shared = set.intersection(*commands.values())
    commands = {name: options - shared for name, options in commands.items()} | {"": shared}
    source = f"azure-cli {release}: {REFERENCE} of MicrosoftDocs/azure-docs-cli at {commit}, written with infra/azure/az-options.py"
    lines = [f"    {json.dumps(name)}: {json.dumps(sorted(commands[name]))}" for name in sorted(commands)]
    TABLE.write_text('{\n  "Source": ' + json.dumps(source) + ',\n  "Commands": {\n' + ",\n".join(lines) + "\n  }\n}\n")


main(*sys.argv[1:])
