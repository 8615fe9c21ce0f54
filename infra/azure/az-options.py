#!/usr/bin/env python3
"""Writes testdata/az-options.json anew from the Azure CLI that is installed.

Run it with the CLI's own Python, in a CLI that is up to date:

    "$(az --version | sed -n "s/^Python location '\\(.*\\)'/\\1/p")" az-options.py

The commands are those that the table has; add a name with an empty list to get
its options.
"""

import json
import pathlib
import sys

from azure.cli.core import __version__, get_default_cli
from azure.cli.core.file_util import create_invoker_and_load_cmds_and_args

path = pathlib.Path(__file__).parent / "testdata" / "az-options.json"
commands = json.loads(path.read_text())["Commands"]
cli = get_default_cli()
create_invoker_and_load_cmds_and_args(cli)
table = cli.invocation.commands_loader.command_table

for name in commands:
    if not name:
        continue  # the global ones
    if name not in table:
        print(f"{name}: not a command here (an extension's?), left as it was", file=sys.stderr)
        continue
    options = set()
    for argument in table[name].arguments.values():
        for option in argument.type.settings.get("options_list") or []:
            text = option if isinstance(option, str) else getattr(option, "target", "")
            if text.startswith("-"):
                options.add(text)
    commands[name] = sorted(options)

lines = [f"    {json.dumps(name)}: {json.dumps(commands[name])}" for name in sorted(commands)]
source = json.dumps(f"azure-cli {__version__}, written with infra/azure/az-options.py")
path.write_text('{\n  "Source": ' + source + ',\n  "Commands": {\n' + ",\n".join(lines) + "\n  }\n}\n")
