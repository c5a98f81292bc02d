{{- /* SPDX-License-Identifier: Apache-2.0 */ -}}
{{- define "stasis.fullname" -}}
{{- $name := default .Chart.Name .Values.nameOverride -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 50 | trimSuffix "-" -}}
{{- else if contains $name .Release.Name -}}
{{- .Release.Name | trunc 50 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name $name | trunc 50 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}

{{- define "stasis.agent" -}}
{{ include "stasis.fullname" . }}-agent
{{- end -}}

{{- define "stasis.account" -}}
{{- if .Values.serviceAccount.create -}}
{{- default (include "stasis.agent" .) .Values.serviceAccount.name -}}
{{- else -}}
{{- default "default" .Values.serviceAccount.name -}}
{{- end -}}
{{- end -}}

{{- /* What the pods of the DaemonSet are told from others by; never changes in an upgrade. The
     component is how operators find the agent and its volume. */ -}}
{{- define "stasis.selector" -}}
app.kubernetes.io/name: {{ default .Chart.Name .Values.nameOverride }}
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/component: snapshot-agent
{{- end -}}

{{- define "stasis.labels" -}}
{{ include "stasis.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{- end -}}

{{- define "stasis.image" -}}
{{ .Values.daemonset.image.repository }}:{{ default .Chart.AppVersion .Values.daemonset.image.tag }}
{{- end -}}

{{- define "stasis.socket" -}}
{{- $default := ternary "/run/containerd/containerd.sock" "/var/run/crio/crio.sock" (eq .Values.runtime.type "containerd") -}}
{{- default $default .Values.runtime.socketPath -}}
{{- end -}}

{{- define "stasis.port" -}}
{{- regexFind "[0-9]+$" .Values.config.agent.listenAddr -}}
{{- end -}}

{{- /* Refusals that a schema has no words for. */ -}}
{{- define "stasis.check" -}}
{{- if ne .Values.storage.type "pvc" -}}
{{- fail (printf "storage.type %s is reserved and not to be had yet; use pvc" .Values.storage.type) -}}
{{- end -}}
{{- if and .Values.openshift.enabled (hasKey .Values.daemonset.podAnnotations "openshift.io/required-scc") -}}
{{- fail "daemonset.podAnnotations must not name openshift.io/required-scc: the agent needs privileged" -}}
{{- end -}}
{{- end -}}
