{{/* Labels that select a component's pods; they never change. Call with (list root component). */}}
{{- define "sb.selector" -}}
app.kubernetes.io/name: somabrain
app.kubernetes.io/instance: {{ (index . 0).Release.Name }}
app.kubernetes.io/component: {{ index . 1 }}
{{- end }}

{{/* Labels of a component's objects. Call with (list root component). */}}
{{- define "sb.labels" -}}
{{ include "sb.selector" . }}
app.kubernetes.io/managed-by: {{ (index . 0).Release.Service }}
app.kubernetes.io/part-of: somabrain
{{- end }}

{{/* Image of the service. */}}
{{- define "sb.image" -}}
{{- with .Values.image }}{{ .repository }}{{ with .digest }}@{{ . }}{{ else }}:{{ .tag | default $.Chart.AppVersion }}{{ end }}{{ end }}
{{- end }}

{{/* "true" if the issuer's keys are those of the cluster, or nothing. */}}
{{- define "sb.clusterIssuer" -}}
{{- with .Values.settings.auth }}{{ if and (eq (default "jwt" .mode) "jwt") (not .jwks_url) }}true{{ end }}{{ end }}
{{- end }}

{{/* Variables of a tree of settings, one per line. Call with (list prefix tree). */}}
{{- define "sb.variables" -}}
{{- $prefix := index . 0 }}
{{- range $name, $value := index . 1 }}
{{- if kindIs "map" $value }}
{{- include "sb.variables" (list (printf "%s%s__" $prefix (upper $name)) $value) }}
{{- else if not (kindIs "invalid" $value) }}
{{- /* Helm reads whole numbers as floats, and would write large ones with an exponent. */}}
{{- if and (kindIs "float64" $value) (eq (floor $value) $value) }}{{ $value = int64 $value }}{{ end }}
{{ printf "%s%s" $prefix (upper $name) }}: {{ toString $value | quote }}
{{- end }}
{{- end }}
{{- end }}

{{/* Seconds between NOT_SERVING and closing the port, by whichever of its two names it is given. */}}
{{- define "sb.shutdownDelay" -}}
{{- $grpc := .Values.settings.grpc }}
{{- $delay := dig "shutdown_delay_s" nil $grpc }}
{{- if kindIs "invalid" $delay }}{{ $delay = dig "drain_notice_s" nil $grpc }}{{ end }}
{{- if kindIs "invalid" $delay }}3{{ else }}{{ $delay }}{{ end }}
{{- end }}

{{/* Data of the ConfigMap of settings. */}}
{{- define "sb.config" -}}
{{- $grpc := dict }}
{{- if ne (int .Values.grpc.port) 50052 }}{{ $_ := set $grpc "port" (int .Values.grpc.port) }}{{ end }}
{{- if .Values.grpc.tls.secretName }}
{{- $folder := "/var/run/secrets/somabrain/tls" }}
{{- $tls := dict "cert_file" (printf "%s/tls.crt" $folder) "key_file" (printf "%s/tls.key" $folder) }}
{{- if .Values.grpc.tls.clientCa }}{{ $_ := set $tls "client_ca_file" (printf "%s/ca.crt" $folder) }}{{ end }}
{{- $_ := set $grpc "tls" $tls }}
{{- end }}
{{- $auth := dict }}
{{- if include "sb.clusterIssuer" . }}
{{- $folder := "/var/run/secrets/somabrain/issuer" }}
{{- $auth = dict "jwks_token_file" (printf "%s/token" $folder) "jwks_ca_file" (printf "%s/ca.crt" $folder) }}
{{- end }}
{{- $settings := deepCopy .Values.settings }}
{{- /* Images before 0.2 know the shutdown delay by its former name alone; where the tag is not a version, so may this. */}}
{{- $tag := .Values.image.tag | default .Chart.AppVersion }}
{{- $version := and (not .Values.image.digest) (regexMatch "^v?[0-9]+[.][0-9]+[.][0-9]+([-+].*)?$" $tag) }}
{{- $present := and $version (semverCompare ">=0.2.0-0" $tag) }}
{{- $_ := unset (unset $settings.grpc "drain_notice_s") "shutdown_delay_s" }}
{{- $_ := set $grpc (ternary "shutdown_delay_s" "drain_notice_s" $present) (include "sb.shutdownDelay" .) }}
{{- include "sb.variables" (list "SOMABRAIN_" (merge (dict "grpc" $grpc "auth" $auth "quota" (dict "replicas" (max 1 (int .Values.replicas)))) $settings)) | trim }}
{{- end }}
