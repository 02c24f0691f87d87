{{/* Labels of every object; call with (list $ "component"). */}}
{{- define "soma-infra.labels" -}}
{{- $root := index . 0 -}}
helm.sh/chart: {{ printf "%s-%s" $root.Chart.Name $root.Chart.Version | replace "+" "_" }}
app.kubernetes.io/managed-by: {{ $root.Release.Service }}
app.kubernetes.io/part-of: soma-infra
{{ include "soma-infra.selector" . }}
{{- end }}

{{/* Labels that select a component's pods; they never change. */}}
{{- define "soma-infra.selector" -}}
app.kubernetes.io/name: {{ index . 1 }}
app.kubernetes.io/instance: {{ (index . 0).Release.Name }}
{{- end }}

{{/* An image reference; call with its repository, tag and digest. */}}
{{- define "soma-infra.image" -}}
{{- .repository }}{{ with .digest }}@{{ . }}{{ else }}:{{ .tag }}{{ end }}
{{- end }}

{{/* The restricted Pod Security profile, for a container. */}}
{{- define "soma-infra.containerSecurity" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities:
  drop: [ALL]
{{- end }}

{{/* The same for a pod; call with the numeric user. */}}
{{- define "soma-infra.podSecurity" -}}
runAsNonRoot: true
runAsUser: {{ int . }}
runAsGroup: {{ int . }}
fsGroup: {{ int . }}
fsGroupChangePolicy: OnRootMismatch
seccompProfile:
  type: RuntimeDefault
{{- end }}
