{{/* Labels of every object. */}}
{{- define "somabrain-operator.labels" -}}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
app.kubernetes.io/part-of: somabrain
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
{{ include "somabrain-operator.selector" . }}
{{- end }}

{{/* Labels that select the operator's pod; they never change. */}}
{{- define "somabrain-operator.selector" -}}
app.kubernetes.io/name: somabrain-operator
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/component: operator
{{- end }}

{{/* Image of the operator. */}}
{{- define "somabrain-operator.image" -}}
{{- with .Values.image }}{{ .repository }}{{ with .digest }}@{{ . }}{{ else }}:{{ .tag | default $.Chart.AppVersion }}{{ end }}{{ end }}
{{- end }}

{{/* "true" if the image is of 0.2 or later; empty before, and if the tag is not a version. */}}
{{- define "somabrain-operator.isPresent" -}}
{{- $tag := .Values.image.tag | default .Chart.AppVersion }}
{{- $version := and (not .Values.image.digest) (regexMatch "^v?[0-9]+[.][0-9]+[.][0-9]+([-+].*)?$" $tag) }}
{{- if and $version (semverCompare ">=0.2.0-0" $tag) }}true{{ end }}
{{- end }}

{{/* Name of a variable for the operator's image: the former name before 0.2 and if the tag is not a version.
     Call with (list root present-name former-name). */}}
{{- define "somabrain-operator.variable" -}}
{{- $present := include "somabrain-operator.isPresent" (index . 0) }}
{{- printf "SOMABRAIN_OPERATOR__%s" (ternary (index . 1) (index . 2) (eq $present "true")) }}
{{- end }}

{{/* Name of the operator's ServiceAccount. */}}
{{- define "somabrain-operator.serviceAccount" -}}
{{- .Values.serviceAccount.name | default .Release.Name }}
{{- end }}

{{/* Name of the ClusterRole: two releases with the same name may exist in different namespaces. */}}
{{- define "somabrain-operator.clusterRole" -}}
{{- printf "%s-%s" .Release.Namespace .Release.Name }}
{{- end }}

{{/* Namespace of the operators' Lease: their own, because a namespace of watchNamespaces may be deleted. */}}
{{- define "somabrain-operator.leaseNamespace" -}}
{{- if include "somabrain-operator.isPresent" . }}{{ .Release.Namespace }}
{{- else }}{{ include "somabrain-operator.formerLeaseNamespace" . }}{{ end }}
{{- end }}

{{/* Namespace of their Lease before 0.2, and for images whose tag is not a version. */}}
{{- define "somabrain-operator.formerLeaseNamespace" -}}
{{- .Values.watchNamespaces | first | default .Release.Namespace }}
{{- end }}

{{/* The namespaces in which the operator has a Lease, as JSON: during an upgrade from before 0.2 also the former one. */}}
{{- define "somabrain-operator.leaseNamespaces" -}}
{{- list (include "somabrain-operator.leaseNamespace" .) (include "somabrain-operator.formerLeaseNamespace" .) | uniq | toJson }}
{{- end }}

{{/* Path of the probes that restart the operator or wait for its start. */}}
{{- define "somabrain-operator.livenessPath" -}}
{{ ternary "/livez" "/healthz" (eq (include "somabrain-operator.isPresent" .) "true") }}
{{- end }}

{{/* The restricted Pod Security profile, for a pod. */}}
{{- define "somabrain-operator.podSecurity" -}}
runAsNonRoot: true
{{- range $field := list "runAsUser" "runAsGroup" "fsGroup" }}
{{- $id := index ($.Values.podSecurityContext | default dict) $field }}
{{- if not (kindIs "invalid" $id) }}
{{ $field }}: {{ int64 $id }}
{{- end }}
{{- end }}
seccompProfile:
  type: RuntimeDefault
{{- end }}

{{/* The same for a container. */}}
{{- define "somabrain-operator.containerSecurity" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities:
  drop: [ALL]
{{- end }}

{{/* "true" if the operator watches the metadata of Secrets; images before 0.2 poll them. */}}
{{- define "somabrain-operator.watchesReferences" -}}
{{- if and .Values.rbac.watchReferences (include "somabrain-operator.isPresent" .) }}true{{ end }}
{{- end }}

{{/* "true" if the operator makes databases; images before 0.2 do not. */}}
{{- define "somabrain-operator.provisions" -}}
{{- if and (.Values.provision | default dict).enabled (include "somabrain-operator.isPresent" .) }}true{{ end }}
{{- end }}

{{/* RBAC rules of the operator, with the minimum verbs. Contents of Secrets are read by name and never listed. */}}
{{- define "somabrain-operator.rules" -}}
- apiGroups: [somabrain.io]
  resources: [somabrains]
  verbs: [list, watch]
- apiGroups: [somabrain.io]
  resources: [somabrains/status]
  verbs: [patch]
- apiGroups: [somabrain.io]  # for ownerReferences, if the API server enforces their permission
  resources: [somabrains/finalizers]
  verbs: [update]
- apiGroups: [""]
  resources: [secrets]
  verbs: [get{{ if include "somabrain-operator.watchesReferences" . }}, list, watch{{ end }}]
{{- if include "somabrain-operator.provisions" . }}
- apiGroups: [""]  # those with the connection strings of databases that it makes
  resources: [secrets]
  verbs: [create, update{{ if not .Values.watchNamespaces }}, delete{{ end }}]
{{- if not .Values.watchNamespaces }}
- apiGroups: [somabrain.io]  # the finalizer of a SomaBrain whose database is dropped with it
  resources: [somabrains]
  verbs: [patch]
{{- end }}
{{- end }}
- apiGroups: [""]
  resources: [serviceaccounts]
  verbs: [get, list, watch, create, patch]
- apiGroups: [""]  # these and the next are deleted when the spec no longer has an MCP server
  resources: [services]
  verbs: [get, list, watch, create, patch, delete]
- apiGroups: [apps]
  resources: [deployments]
  verbs: [get, list, watch, create, patch, delete]
- apiGroups: [""]  # the default policy is deleted when another is in force
  resources: [configmaps]
  verbs: [get, list, watch, create, patch, delete]
- apiGroups: [policy]  # these and the next two are deleted when the spec no longer has them
  resources: [poddisruptionbudgets]
  verbs: [get, list, watch, create, patch, delete]
- apiGroups: [autoscaling]
  resources: [horizontalpodautoscalers]
  verbs: [get, list, watch, create, patch, delete]
- apiGroups: [networking.k8s.io]
  resources: [networkpolicies]
  verbs: [get, list, watch, create, patch, delete]
- apiGroups: [monitoring.coreos.com]  # if the cluster has these kinds
  resources: [servicemonitors, prometheusrules]
  verbs: [get, list, watch, create, patch, delete]
- apiGroups: [batch]
  resources: [jobs]
  verbs: [list, watch, create, patch, delete]
- apiGroups: [""]
  resources: [pods]
  verbs: [list, watch]
- apiGroups: [""]
  resources: [events]
  verbs: [list, create]
{{- end }}

{{/* Rule for the operator's own Lease, whose events prove that watches deliver. */}}
{{- define "somabrain-operator.leaseWatchRule" -}}
- apiGroups: [coordination.k8s.io]  # only its own
  resources: [leases]
  resourceNames: [{{ include "somabrain-operator.clusterRole" . }}]
  verbs: [list, watch]
{{- end }}
