{{/* The restricted Pod Security profile, for a pod. */}}
{{- define "sb.podSecurity" -}}
runAsNonRoot: true
{{- range $field := list "runAsUser" "runAsGroup" "fsGroup" }}
{{- $id := index ($.Values.podSecurityContext | default dict) $field }}
{{- if not (kindIs "invalid" $id) }}
{{ $field }}: {{ int64 $id }}
{{- end }}
{{- end }}
seccompProfile: {type: RuntimeDefault}
{{- end }}

{{/* The same for a container. */}}
{{- define "sb.containerSecurity" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities: {drop: [ALL]}
{{- end }}

{{/* First fields of the specs of both pods. */}}
{{- define "sb.pod" -}}
serviceAccountName: {{ .Release.Name }}-server
automountServiceAccountToken: false
enableServiceLinks: false
securityContext: {{- include "sb.podSecurity" . | nindent 2 }}
{{- with .Values.imagePullSecrets }}
imagePullSecrets:
  {{- range . }}
  - name: {{ . }}
  {{- end }}
{{- end }}
{{- end }}

{{/* HTTP probe. Call with (list path port period failures timeout). */}}
{{- define "sb.probe" -}}
httpGet: {path: {{ index . 0 }}, port: {{ index . 1 }}}
periodSeconds: {{ index . 2 }}
failureThreshold: {{ index . 3 }}
timeoutSeconds: {{ index . 4 }}
{{- end }}

{{/* Sources of the volume of secret settings. Call with (list root component). */}}
{{- define "sb.settingsSources" -}}
{{- $root := index . 0 }}
{{- $owner := eq (index . 1) "migrate" }}
{{- if $owner }}
{{- with $root.Values.migration.secretName }}
- secret: {name: {{ . }}, items: [{key: owner-dsn, path: SOMABRAIN_OWNER_DSN}]}
{{- end }}
{{- else }}
{{- with $root.Values.database.secretName }}
- secret:
    name: {{ . }}
    items:
      - {key: app-dsn, path: SOMABRAIN_POSTGRES_DSN}
      - {key: worker-dsn, path: SOMABRAIN_WORKER_DSN}
{{- end }}
{{- range $root.Values.secretRefs }}
- secret: {name: {{ . }}}
{{- end }}
{{- end }}
{{- range $root.Values.configMapRefs }}
- configMap: {name: {{ . }}}
{{- end }}
{{- end }}

{{/* Secrets that Vault's agent writes for a component, as JSON. Call with (list root component). */}}
{{- define "sb.vaultSecrets" -}}
{{- $root := index . 0 }}
{{- $owner := eq (index . 1) "migrate" }}
{{- $foreign := ternary (list "SOMABRAIN_POSTGRES_DSN" "SOMABRAIN_WORKER_DSN") (list "SOMABRAIN_OWNER_DSN") $owner }}
{{- $chosen := list }}
{{- if $root.Values.vault.enabled }}
{{- range $root.Values.vault.secrets }}
{{- if not (has .file $foreign) }}{{ $chosen = append $chosen . }}{{ end }}
{{- end }}
{{- end }}
{{- toJson $chosen }}
{{- end }}

{{/* Configuration of Vault's agent, as JSON. Call with (list root component). */}}
{{- define "sb.vaultAgent" -}}
{{- $vault := (index . 0).Values.vault }}
{{- $folder := "/var/run/secrets/somabrain/vault" }}
{{- $server := dict "address" $vault.address "retry" (dict "num_retries" 3) }}
{{- $method := dict "type" "kubernetes" "exit_on_err" true "mount_path" (printf "auth/%s" $vault.authPath) "config" (dict "role" $vault.role "token_path" (printf "%s/token" $folder)) }}
{{- with $vault.namespace }}{{ $_ := set $server "namespace" . }}{{ $_ := set $method "namespace" . }}{{ end }}
{{- if $vault.caSecretName }}{{ $_ := set $server "ca_cert" (printf "%s/ca.crt" $folder) }}{{ end }}
{{- $templates := list }}
{{- range fromJsonArray (include "sb.vaultSecrets" .) }}
{{- $lacks := printf "%s in Vault has no key %s" .path .key }}
{{- $value := printf "{{ $kept := .Data }}{{ if index .Data \"metadata\" }}{{ $kept = index .Data \"data\" }}{{ end }}{{ with index $kept %q }}{{ . }}{{ else }}{{ sprig_fail %q }}{{ end }}" .key $lacks }}
{{- $contents := printf "{{ with secret %q }}%s{{ end }}" .path $value }}
{{- $templates = append $templates (dict "contents" $contents "destination" (printf "/run/somabrain/secrets/%s" .file) "error_on_missing_key" true "perms" "0400") }}
{{- end }}
{{- toJson (dict "exit_after_auth" true "vault" $server "auto_auth" (dict "method" (list $method)) "template_config" (dict "exit_on_retry_failure" true) "template" $templates) }}
{{- end }}

{{/* Init container of Vault's agent. */}}
{{- define "sb.vaultContainer" -}}
- name: vault
  image: {{ .Values.vault.image }}
  imagePullPolicy: {{ .Values.image.pullPolicy }}
  command: [vault, agent, -config=/var/run/secrets/somabrain/vault/agent.json, -log-level=error]
  env: [{name: HOME, value: /run/somabrain}]
  terminationMessagePolicy: FallbackToLogsOnError
  resources: {{- toYaml .Values.vault.resources | nindent 4 }}
  securityContext: {{- include "sb.containerSecurity" . | nindent 4 }}
  volumeMounts:
    - {name: vault-agent, mountPath: /var/run/secrets/somabrain/vault, readOnly: true}
    - {name: vault-files, mountPath: /run/somabrain}
    - {name: tmp, mountPath: /tmp}
{{- end }}

{{/* Volumes that the agent reads from and writes to. */}}
{{- define "sb.vaultVolumes" -}}
- name: vault-agent
  projected:
    sources:
      - serviceAccountToken: {audience: {{ .Values.vault.audience }}, expirationSeconds: 600, path: token}
      - downwardAPI:
          items:
            - path: agent.json
              fieldRef: {fieldPath: "metadata.annotations['somabrain.io/vault-agent']"}
      {{- with .Values.vault.caSecretName }}
      - secret: {name: {{ . }}, items: [{key: ca.crt, path: ca.crt}]}
      {{- end }}
- name: vault-files
  emptyDir: {medium: Memory, sizeLimit: 8Mi}
{{- end }}

{{/* Folders of settings files. Call with (list from-kubernetes from-vault), two booleans. */}}
{{- define "sb.folders" -}}
{{- $folders := list }}
{{- if index . 0 }}{{ $folders = append $folders "/etc/somabrain/settings" }}{{ end }}
{{- if index . 1 }}{{ $folders = append $folders "/run/somabrain/secrets" }}{{ end }}
{{- join ":" $folders | quote }}
{{- end }}
