{{/* A list of strings as JSON, as settings have it. Call with the list. */}}
{{- define "sb.jsonList" -}}
{{- $quoted := list }}
{{- range . }}{{ $quoted = append $quoted (toJson .) }}{{ end }}
{{- printf "[%s]" (join ", " $quoted) }}
{{- end }}

{{/* Variables of the MCP server's settings that are not secret, one per line. */}}
{{- define "sb.mcpVariables" -}}
{{- $mcp := .Values.mcp }}
{{- $name := printf "%s-mcp" .Release.Name }}
{{- $hosts := list (printf "%s:*" $name) (printf "%s.%s:*" $name .Release.Namespace) (printf "%s.%s.svc:*" $name .Release.Namespace) }}
{{- $audience := $mcp.audience | default $mcp.resourceUrl }}
{{- if $mcp.sameResource }}{{ $audience = .Values.settings.auth.audience }}{{ end }}
{{- $auth := merge (dict "audience" $audience) (deepCopy .Values.settings.auth) }}
{{- if include "sb.clusterIssuer" . }}
{{- $folder := "/var/run/secrets/somabrain/issuer" }}
{{- $auth = merge (dict "jwks_token_file" (printf "%s/token" $folder) "jwks_ca_file" (printf "%s/ca.crt" $folder)) $auth }}
{{- end }}
{{- $settings := dict "address" (printf "dns:///%s-headless.%s.svc:%d" .Release.Name .Release.Namespace (int .Values.grpc.port)) }}
{{- $_ := set $settings "allowed_hosts" (include "sb.jsonList" (concat $hosts $mcp.allowedHosts)) }}
{{- $_ := set $settings "drain_s" (int $mcp.drainSeconds) }}
{{- $_ := set $settings "host" "0.0.0.0" }}
{{- $_ := set $settings "port" (int $mcp.port) }}
{{- $_ := set $settings "resource_url" $mcp.resourceUrl }}
{{- $_ := set $settings "shutdown_delay_s" 3 }}
{{- if $mcp.allowedOrigins }}{{ $_ := set $settings "allowed_origins" (include "sb.jsonList" $mcp.allowedOrigins) }}{{ end }}
{{- with $mcp.namespace }}{{ $_ := set $settings "namespace" . }}{{ end }}
{{- $folder := "/etc/somabrain/settings" }}
{{- if $mcp.sameResource }}
{{- $_ := set $settings "same_resource" "true" }}
{{- else }}
{{- $exchange := dict "url" $mcp.exchange.url "audience" $mcp.exchange.audience "scope" $mcp.exchange.scope }}
{{- if $mcp.exchange.caSecretName }}{{ $_ := set $exchange "ca_file" (printf "%s/mcp-exchange-ca.crt" $folder) }}{{ end }}
{{- $_ := set $settings "exchange" $exchange }}
{{- end }}
{{- if .Values.grpc.tls.secretName }}
{{- $_ := set $settings "tls" "true" }}
{{- if $mcp.tls.caSecretName }}{{ $_ := set $settings "ca_file" (printf "%s/mcp-ca.crt" $folder) }}{{ end }}
{{- if $mcp.tls.clientSecretName }}
{{- $_ := set $settings "cert_file" (printf "%s/mcp-tls.crt" $folder) }}
{{- $_ := set $settings "key_file" (printf "%s/mcp-tls.key" $folder) }}
{{- end }}
{{- end }}
{{- include "sb.variables" (list "SOMABRAIN_" (dict "auth" $auth "log" (dict "level" .Values.settings.log.level) "mcp" $settings)) | trim }}
{{- end }}

{{/* Sources of the volume of the MCP server's secret settings. */}}
{{- define "sb.mcpSources" -}}
{{- $mcp := .Values.mcp }}
{{- if not $mcp.sameResource }}
- secret:
    name: {{ $mcp.exchange.secretName }}
    items:
      - {key: client-id, path: SOMABRAIN_MCP__EXCHANGE__CLIENT_ID}
      - {key: client-secret, path: SOMABRAIN_MCP__EXCHANGE__CLIENT_SECRET}
{{- with $mcp.exchange.caSecretName }}
- secret: {name: {{ . }}, items: [{key: ca.crt, path: mcp-exchange-ca.crt}]}
{{- end }}
{{- end }}
{{- with $mcp.tls.caSecretName }}
- secret: {name: {{ . }}, items: [{key: ca.crt, path: mcp-ca.crt}]}
{{- end }}
{{- with $mcp.tls.clientSecretName }}
- secret:
    name: {{ . }}
    items:
      - {key: tls.crt, path: mcp-tls.crt}
      - {key: tls.key, path: mcp-tls.key}
{{- end }}
{{- range $mcp.secretRefs }}
- secret: {name: {{ . }}}
{{- end }}
{{- range $mcp.configMapRefs }}
- configMap: {name: {{ . }}}
{{- end }}
{{- end }}

{{/* Fails with a sentence if values of the MCP server contradict each other. */}}
{{- define "sb.mcpCheck" -}}
{{- $mcp := .Values.mcp }}
{{- if eq (ne $mcp.exchange.url "") $mcp.sameResource }}
{{- fail "mcp: set either exchange.url, by which it gets tokens for the memory service, or sameResource, if both are one resource with one audience at the identity service" }}
{{- end }}
{{- if and $mcp.exchange.url (not $mcp.exchange.secretName) }}
{{- fail "mcp.exchange.secretName: name a Secret with the keys client-id and client-secret" }}
{{- end }}
{{- if and $mcp.audience $mcp.sameResource }}
{{- fail "mcp.audience: with sameResource it is settings.auth.audience; remove it" }}
{{- end }}
{{- if and .Values.grpc.tls.secretName .Values.grpc.tls.clientCa (not $mcp.tls.clientSecretName) }}
{{- fail "mcp.tls.clientSecretName: name a Secret with a client certificate, which grpc.tls.clientCa requires of every client" }}
{{- end }}
{{- if and (not .Values.grpc.tls.secretName) (or $mcp.tls.caSecretName $mcp.tls.clientSecretName) }}
{{- fail "mcp.tls has no effect without grpc.tls.secretName; remove it, or set grpc.tls.secretName" }}
{{- end }}
{{- end }}
