# SPDX-License-Identifier: Apache-2.0
"""What a chart makes of values, as Python objects: helm itself turns its YAML into JSON."""
import json
import os
import pathlib
import shutil
import subprocess
import tempfile

# A template more, in a copy of the chart: each document of each template, and the agent's
# configuration, which is a text in one of them.
AS_JSON = """
{{- range $name := list "configmap" "daemonset" "podmonitor" "pvc" "rbac" }}
{{- range $text := splitList "\\n---\\n" (include (printf "%s/%s.yaml" $.Template.BasePath $name) $) }}
{{- if trim $text }}
{{- $object := fromYaml $text }}
---
{{ toJson $object }}
{{- if eq $name "configmap" }}
---
{{ dict "kind" "Configuration" "apiVersion" "none" "metadata" (dict "name" "configuration")
     "content" (fromYaml (index $object.data "config.yaml")) | toJson }}
{{- end }}
{{- end }}
{{- end }}
{{- end }}
"""


class Refused(Exception):
    """helm did not take the values; the text is its reason."""


def find(tools):
    """The program, or None. In PATH, or made by the tool that makes the cluster's programs."""
    found = shutil.which("helm")
    tool = tools / "fetch-kubernetes"
    if found or not tool.exists():
        return found
    made = subprocess.run([tool, "helm"], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                          text=True, check=False)
    folder = made.stdout.strip().partition("\t")[2]
    return os.path.join(folder, "helm") if folder.startswith("/") else None


class Helm:
    def __init__(self, program, directory):
        self.program = program
        self.directory = pathlib.Path(directory)

    def run(self, *arguments):
        done = subprocess.run([self.program, *map(str, arguments)], stdin=subprocess.DEVNULL,
                              capture_output=True, text=True, check=False,
                              env={**os.environ, "HELM_NO_PLUGINS": "1"})
        if done.returncode != 0:
            raise Refused(done.stderr + done.stdout)
        return done.stdout

    def json_chart(self, chart):
        """A copy of the chart that answers in JSON."""
        copy = self.directory / f"json-{chart.name}"
        if not copy.exists():
            shutil.copytree(chart, copy)
            (copy / "templates/as-json.yaml").write_text(AS_JSON)
        return copy

    def render(self, chart, *sets, values=None, release=None, namespace="my-app"):
        """{(kind, name): object}, and the agent's configuration at ("Configuration",
        "configuration")."""
        words = [word for one in sets for word in ("--set", one)]
        with tempfile.NamedTemporaryFile("w", suffix=".json", dir=self.directory) as file:
            json.dump(values or {}, file)
            file.flush()
            text = self.run("template", release or chart.name, self.json_chart(chart),
                            "--namespace", namespace, "--values", file.name,
                            "--show-only", "templates/as-json.yaml", *words)
        objects = [json.loads(line) for line in text.splitlines() if line.startswith("{")]
        return {(one["kind"], one["metadata"]["name"]): one for one in objects}
