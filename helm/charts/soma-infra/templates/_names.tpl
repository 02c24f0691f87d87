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

{{/* "true" if a component of the profile full runs, or nothing; call with (list $ "redis"). */}}
{{- define "soma-infra.runs" -}}
{{- $root := index . 0 -}}
{{- if and (eq $root.Values.profile "full") (index $root.Values (index . 1)).enabled }}true{{ end -}}
{{- end }}

{{/* Common fields of the specs of all pods; call with (list $ values-of-the-component). */}}
{{- define "soma-infra.pod" -}}
{{- $root := index . 0 -}}
{{- $values := index . 1 -}}
enableServiceLinks: false
securityContext: {{- include "soma-infra.podSecurity" $values.runAsUser | nindent 2 }}
{{- with $root.Values.imagePullSecrets }}
imagePullSecrets:
  {{- range . }}
  - name: {{ . }}
  {{- end }}
{{- end }}
{{- with $values.nodeSelector }}
nodeSelector: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with $values.tolerations }}
tolerations: {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}

{{/* Claim of a component's volume `data`; call with its `storage`. */}}
{{- define "soma-infra.claim" -}}
- apiVersion: v1
  kind: PersistentVolumeClaim
  metadata:
    name: data
  spec:
    accessModes: [ReadWriteOnce]
    {{- with .className }}
    storageClassName: {{ . }}
    {{- end }}
    resources:
      requests:
        storage: {{ .size }}
{{- end }}

{{/* Head of a pod of `helm test`; call with (list $ "component"). */}}
{{- define "soma-infra.test" -}}
{{- $root := index . 0 -}}
apiVersion: v1
kind: Pod
metadata:
  name: {{ index . 1 }}-test
  labels: {{- include "soma-infra.labels" (list $root (printf "%s-test" (index . 1))) | nindent 4 }}
  annotations:
    helm.sh/hook: test
    helm.sh/hook-delete-policy: before-hook-creation,hook-succeeded
{{- end }}

{{/* Service with one port; call with (list $ "component" "port name" number). */}}
{{- define "soma-infra.service" -}}
{{- $root := index . 0 -}}
apiVersion: v1
kind: Service
metadata:
  name: {{ index . 1 }}
  labels: {{- include "soma-infra.labels" (list $root (index . 1)) | nindent 4 }}
spec:
  type: ClusterIP
  selector: {{- include "soma-infra.selector" (list $root (index . 1)) | nindent 4 }}
  ports:
    - {name: {{ index . 2 }}, port: {{ index . 3 }}, targetPort: {{ index . 2 }}, protocol: TCP}
{{- end }}
