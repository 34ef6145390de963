{{/*
Names. Long suffixes follow (`-metrics-adapter`), and a label's name may have 63 characters, so 40 are left.
*/}}
{{- define "ws.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 40 | trimSuffix "-" }}
{{- end }}

{{- define "ws.fullname" -}}
{{- if .Values.fullnameOverride }}
{{- .Values.fullnameOverride | trunc 40 | trimSuffix "-" }}
{{- else }}
{{- $name := default .Chart.Name .Values.nameOverride }}
{{- if contains $name .Release.Name }}
{{- .Release.Name | trunc 40 | trimSuffix "-" }}
{{- else }}
{{- printf "%s-%s" .Release.Name $name | trunc 40 | trimSuffix "-" }}
{{- end }}
{{- end }}
{{- end }}

{{/*
Labels, by `include "ws.labels" (list . "server")`; selectors hold what never changes.
*/}}
{{- define "ws.selectorLabels" -}}
{{- $ := index . 0 -}}
app.kubernetes.io/name: {{ include "ws.name" $ }}
app.kubernetes.io/instance: {{ $.Release.Name }}
app.kubernetes.io/component: {{ index . 1 }}
{{- end }}

{{- define "ws.labels" -}}
{{- $ := index . 0 -}}
{{ include "ws.selectorLabels" . }}
app.kubernetes.io/version: {{ $.Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ $.Release.Service }}
app.kubernetes.io/part-of: {{ include "ws.name" $ }}
helm.sh/chart: {{ printf "%s-%s" $.Chart.Name $.Chart.Version | replace "+" "_" | trunc 63 | trimSuffix "-" }}
{{- with $.Values.commonLabels }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{- define "ws.podLabels" -}}
{{- $ := index . 0 -}}
{{ include "ws.selectorLabels" . }}
{{- with $.Values.commonLabels }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{- define "ws.image" -}}
{{- $image := .Values.image -}}
{{- if $image.digest -}}
{{ $image.repository }}@{{ $image.digest }}
{{- else -}}
{{ $image.repository }}:{{ default .Chart.AppVersion $image.tag }}
{{- end }}
{{- end }}

{{- define "ws.redis.image" -}}
{{- $image := .Values.redis.bundled.image -}}
{{- if $image.digest -}}
{{ $image.repository }}@{{ $image.digest }}
{{- else -}}
{{ $image.repository }}:{{ $image.tag }}
{{- end }}
{{- end }}

{{- define "ws.serviceAccountName" -}}
{{- if .Values.serviceAccount.create -}}
{{ default (include "ws.fullname" .) .Values.serviceAccount.name }}
{{- else -}}
{{ default "default" .Values.serviceAccount.name }}
{{- end }}
{{- end }}

{{- define "ws.adapter.name" -}}
{{ include "ws.fullname" . }}-metrics-adapter
{{- end }}

{{- define "ws.adapter.serviceAccountName" -}}
{{- if .Values.metricsAdapter.serviceAccount.create -}}
{{ default (include "ws.adapter.name" .) .Values.metricsAdapter.serviceAccount.name }}
{{- else -}}
{{ default "default" .Values.metricsAdapter.serviceAccount.name }}
{{- end }}
{{- end }}

{{/*
Cluster-wide names, and those in kube-system, carry the namespace.
*/}}
{{- define "ws.adapter.clusterName" -}}
{{ .Release.Namespace }}-{{ include "ws.adapter.name" . }}
{{- end }}

{{/*
"true" or nothing: is the chart's own metrics-adapter wanted?
*/}}
{{- define "ws.adapter.enabled" -}}
{{- if and .Values.autoscaling.enabled (eq .Values.autoscaling.provider "builtin") }}true{{ end }}
{{- end }}

{{/*
Where messages between pods go: `existing`, `url`, `bundled` or `none`.
*/}}
{{- define "ws.redis.mode" -}}
{{- if .Values.redis.existingSecret }}existing
{{- else if .Values.redis.url }}url
{{- else if .Values.redis.bundled.enabled }}bundled
{{- else }}none
{{- end }}
{{- end }}

{{- define "ws.redis.secretName" -}}
{{ default (printf "%s-redis" (include "ws.fullname" .)) .Values.redis.existingSecret }}
{{- end }}

{{- define "ws.redis.secretKey" -}}
{{- if .Values.redis.existingSecret }}{{ .Values.redis.existingSecretKey }}{{ else }}redis-url{{ end }}
{{- end }}

{{- define "ws.redis.clientLabel" -}}
{{ include "ws.fullname" . }}-redis-client
{{- end }}

{{- define "ws.redis.volume" -}}
- name: redis
  secret:
    secretName: {{ include "ws.redis.secretName" . }}
    defaultMode: 0440
    items:
      - key: {{ include "ws.redis.secretKey" . }}
        path: redis-url
{{- if include "ws.redis.credentials" . }}
- name: redis-credentials
  projected:
    defaultMode: 0440
    sources:
      {{- with .Values.redis.sentinel }}
      {{- if .existingSecret }}
      - secret:
          name: {{ .existingSecret }}
          items:
            - key: {{ .existingSecretKey }}
              path: sentinel-password
      {{- end }}
      {{- end }}
      {{- with .Values.redis.tls }}
      {{- if .caSecret }}
      - secret:
          name: {{ .caSecret }}
          items:
            - key: {{ .caSecretKey }}
              path: ca.crt
      {{- end }}
      {{- if .clientSecret }}
      - secret:
          name: {{ .clientSecret }}
          items:
            - key: tls.crt
              path: tls.crt
            - key: tls.key
              path: tls.key
      {{- end }}
      {{- end }}
{{- end }}
{{- end }}

{{- define "ws.redis.mount" -}}
- name: redis
  mountPath: /etc/websocket-service/redis
  readOnly: true
{{- if include "ws.redis.credentials" . }}
- name: redis-credentials
  mountPath: /etc/websocket-service/redis-credentials
  readOnly: true
{{- end }}
{{- end }}

{{/*
Whether there is more to mount than the URL.
*/}}
{{- define "ws.redis.credentials" -}}
{{- if or .Values.redis.sentinel.existingSecret .Values.redis.tls.caSecret .Values.redis.tls.clientSecret }}true{{ end }}
{{- end }}

{{/*
How Redis is reached beyond its URL: variables that all programs understand. Nothing where the URL says it all.
*/}}
{{- define "ws.redis.env" -}}
{{- $folder := "/etc/websocket-service/redis-credentials" -}}
{{- with .Values.redis.sentinel }}
{{- if .servers }}
- name: WEBSOCKET_SERVICE_REDIS_SENTINELS
  value: {{ join "," .servers | quote }}
- name: WEBSOCKET_SERVICE_REDIS_SENTINEL_MASTER
  value: {{ .master | quote }}
{{- if .user }}
- name: WEBSOCKET_SERVICE_REDIS_SENTINEL_USER
  value: {{ .user | quote }}
{{- end }}
{{- if .existingSecret }}
- name: WEBSOCKET_SERVICE_REDIS_SENTINEL_PASSWORD_FILE
  value: {{ $folder }}/sentinel-password
{{- end }}
{{- end }}
{{- end }}
{{- with .Values.redis.cluster.nodes }}
- name: WEBSOCKET_SERVICE_REDIS_CLUSTER_NODES
  value: {{ join "," . | quote }}
{{- end }}
{{- with .Values.redis.tls }}
{{- if .caSecret }}
- name: WEBSOCKET_SERVICE_REDIS_TLS_CA_FILE
  value: {{ $folder }}/ca.crt
{{- end }}
{{- if .clientSecret }}
- name: WEBSOCKET_SERVICE_REDIS_TLS_CERTIFICATE_FILE
  value: {{ $folder }}/tls.crt
- name: WEBSOCKET_SERVICE_REDIS_TLS_KEY_FILE
  value: {{ $folder }}/tls.key
{{- end }}
{{- end }}
{{- end }}

{{/*
Whether the release has tests: they do not speak TLS.
*/}}
{{- define "ws.tests.enabled" -}}
{{- if and .Values.tests.enabled (not .Values.service.tlsSecret) }}true{{ end }}
{{- end }}

{{/*
Fixed number of pods, while autoscaling is off.
*/}}
{{- define "ws.replicas" -}}
{{- if not (kindIs "invalid" .Values.replicas) }}{{ int .Values.replicas }}
{{- else if eq (include "ws.redis.mode" .) "none" }}1
{{- else }}2
{{- end }}
{{- end }}

{{/*
The most pods that there can be.
*/}}
{{- define "ws.mostReplicas" -}}
{{- if .Values.autoscaling.enabled }}{{ int .Values.autoscaling.maxReplicas }}{{ else }}{{ include "ws.replicas" . }}{{ end }}
{{- end }}

{{- define "ws.leastReplicas" -}}
{{- if .Values.autoscaling.enabled }}{{ int .Values.autoscaling.minReplicas }}{{ else }}{{ include "ws.replicas" . }}{{ end }}
{{- end }}

{{/*
Connections a pod that autoscaling aims at.
*/}}
{{- define "ws.target" -}}
{{- max 1 (div (mul (int .Values.capacity.connectionsPerPod) (int .Values.capacity.targetPercent)) 100) }}
{{- end }}

{{- define "ws.drain.budget" -}}
{{- add (int .Values.drain.lameDuckSeconds) (int .Values.drain.spreadSeconds) (int .Values.drain.lingerSeconds) (int .Values.drain.marginSeconds) }}
{{- end }}

{{- define "ws.grace" -}}
{{- if kindIs "invalid" .Values.terminationGracePeriodSeconds }}{{ include "ws.drain.budget" . }}
{{- else }}{{ int .Values.terminationGracePeriodSeconds }}
{{- end }}
{{- end }}

{{- define "ws.maxSurge" -}}
{{- $profiles := dict "gentle" "25%" "balanced" "50%" "fast" "100%" }}
{{- if kindIs "invalid" .Values.rollout.maxSurge }}{{ get $profiles .Values.rollout.profile }}
{{- else if kindIs "string" .Values.rollout.maxSurge }}{{ .Values.rollout.maxSurge }}
{{- else }}{{ int .Values.rollout.maxSurge }}
{{- end }}
{{- end }}

{{/*
Between two signs of progress lies at most a pod's start and minReadySeconds; each batch gets its share all the same, for
pods that wait for a node.
*/}}
{{- define "ws.progressDeadline" -}}
{{- $batches := dict "gentle" 4 "balanced" 2 "fast" 1 }}
{{- if kindIs "invalid" .Values.rollout.progressDeadlineSeconds }}{{ add 600 (mul (get $batches .Values.rollout.profile) (int .Values.rollout.minReadySeconds)) }}
{{- else }}{{ int .Values.rollout.progressDeadlineSeconds }}
{{- end }}
{{- end }}

{{/*
Keys of tokens: is the algorithm one with a shared key, which Secret has the key, and under which name.
*/}}
{{- define "ws.jwt.algorithm" -}}
{{ default "HS256" .Values.settings.jwt_algorithm }}
{{- end }}

{{- define "ws.jwt.shared" -}}
{{- if hasPrefix "HS" (include "ws.jwt.algorithm" .) }}true{{ end }}
{{- end }}

{{- define "ws.jwt.file" -}}
{{- if include "ws.jwt.shared" . }}jwt-secret-key{{ else }}jwt-public-key{{ end }}
{{- end }}

{{/*
"true" or nothing: a key of its own is there beside, or instead of, `keysSecret`, and not instead of an issuer's key set.
*/}}
{{- define "ws.jwt.single" -}}
{{- if or .Values.jwt.existingSecret .Values.jwt.secret .Values.jwt.publicKey (not (or .Values.jwt.keysSecret .Values.settings.jwt_jwks_url)) }}true{{ end }}
{{- end }}

{{- define "ws.jwt.secretName" -}}
{{ default (printf "%s-jwt" (include "ws.fullname" .)) .Values.jwt.existingSecret }}
{{- end }}

{{- define "ws.jwt.secretKey" -}}
{{- if .Values.jwt.existingSecret }}{{ .Values.jwt.existingSecretKey }}{{ else }}{{ include "ws.jwt.file" . }}{{ end }}
{{- end }}

{{- define "ws.jwt.volume" -}}
- name: jwt
  secret:
    secretName: {{ include "ws.jwt.secretName" . }}
    defaultMode: 0440
    items:
      - key: {{ include "ws.jwt.secretKey" . }}
        path: {{ include "ws.jwt.file" . }}
      {{- with .Values.jwt.existingSecretPreviousKey }}
      - key: {{ . }}
        path: jwt-previous-key
      {{- end }}
{{- end }}

{{- define "ws.jwt.mount" -}}
- name: jwt
  mountPath: /etc/websocket-service/jwt
  readOnly: true
{{- end }}

{{- define "ws.apiKey.enabled" -}}
{{- if or .Values.apiKey.existingSecret .Values.apiKey.value }}true{{ end }}
{{- end }}

{{/*
What the release makes up: once, and the same in every template of one rendering. A later rendering finds it in the
cluster; without a cluster (`helm template`, Argo CD) nothing is found, so give the values, or Secrets, there.
*/}}
{{- define "ws.made" -}}
{{- $ := index . 0 }}{{ $secret := index . 1 }}{{ $key := index . 2 }}
{{- if not (hasKey $.Values "_made") }}{{ $_ := set $.Values "_made" dict }}{{ end }}
{{- $made := get $.Values "_made" }}
{{- $id := printf "%s/%s" $secret $key }}
{{- if not (hasKey $made $id) }}
{{- $old := dig "data" $key "" (lookup "v1" "Secret" $.Release.Namespace $secret | default dict) }}
{{- $_ := set $made $id (ternary ($old | b64dec) (randAlphaNum 48) (ne $old "")) }}
{{- end }}
{{- get $made $id }}
{{- end }}

{{- define "ws.redis.password" -}}
{{- if .Values.redis.bundled.password }}{{ .Values.redis.bundled.password }}
{{- else }}{{ include "ws.made" (list . (include "ws.redis.secretName" .) "password") }}
{{- end }}
{{- end }}

{{- define "ws.redis.url" -}}
{{- if .Values.redis.url }}{{ .Values.redis.url }}
{{- else -}}
redis://default:{{ include "ws.redis.password" . | urlquery | replace "+" "%20" }}@{{ include "ws.fullname" . }}-redis.{{ .Release.Namespace }}.svc:6379/0
{{- end }}
{{- end }}

{{- define "ws.redis.config" -}}
# Nothing is kept on disk: users' histories and the gauges' reports expire by themselves. When memory is short, the histories
# that nobody has used for longest go, and not the reports, whose age is the shortest.
bind * -::*
port 6379
requirepass {{ include "ws.redis.password" . | quote }}
save ""
appendonly no
maxmemory {{ .Values.redis.bundled.maxMemory }}
maxmemory-policy volatile-lru
tcp-keepalive 60
timeout 0
{{- end }}

{{/*
A value of a setting as the environment has it. YAML numbers reach templates as floats: 1048576 would be 1.048576e+06.
*/}}
{{- define "ws.text" -}}
{{- if kindIs "float64" . }}{{ if eq (floor .) . }}{{ int64 . }}{{ else }}{{ . }}{{ end }}
{{- else if kindIs "slice" . }}{{ toJson . }}
{{- else }}{{ . }}
{{- end }}
{{- end }}

{{/*
Address to bind: with IPv6 among the families, both at once.
*/}}
{{- define "ws.host" -}}
{{- if .Values.settings.host }}{{ .Values.settings.host }}
{{- else if has "IPv6" .Values.service.ipFamilies }}::
{{- else if hasSuffix "DualStack" .Values.service.ipFamilyPolicy }}::
{{- else }}0.0.0.0
{{- end }}
{{- end }}

{{- define "ws.ipFamilies" -}}
{{- with .Values.service.ipFamilyPolicy }}
ipFamilyPolicy: {{ . }}
{{- end }}
{{- with .Values.service.ipFamilies }}
ipFamilies: {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}

{{/*
Pod Security `restricted`.
*/}}
{{- define "ws.podSecurityContext" -}}
runAsNonRoot: true
runAsUser: {{ . }}
runAsGroup: {{ . }}
fsGroup: {{ . }}
fsGroupChangePolicy: OnRootMismatch
seccompProfile:
  type: RuntimeDefault
{{- end }}

{{- define "ws.securityContext" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities:
  drop: [ALL]
{{- end }}

{{- define "ws.fieldEnv" -}}
{{- range $name, $path := . }}
- name: {{ $name }}
  valueFrom:
    fieldRef:
      fieldPath: {{ $path }}
{{- end }}
{{- end }}

{{/*
How new pods become available, for the HPA and KEDA.
*/}}
{{- define "ws.behavior" -}}
{{- $up := .Values.autoscaling.scaleUp }}{{ $down := .Values.autoscaling.scaleDown }}
{{- $tolerance := semverCompare ">=1.35.0-0" .Capabilities.KubeVersion.Version -}}
scaleUp:
  stabilizationWindowSeconds: {{ int $up.stabilizationWindowSeconds }}
  selectPolicy: Max
  {{- if and $tolerance (not (kindIs "invalid" $up.tolerance)) }}
  tolerance: {{ $up.tolerance }}
  {{- end }}
  policies:
    - type: Percent
      value: {{ int $up.percent }}
      periodSeconds: {{ int $up.periodSeconds }}
    - type: Pods
      value: {{ int $up.pods }}
      periodSeconds: {{ int $up.periodSeconds }}
scaleDown:
  stabilizationWindowSeconds: {{ int $down.stabilizationWindowSeconds }}
  selectPolicy: Max
  {{- if and $tolerance (not (kindIs "invalid" $down.tolerance)) }}
  tolerance: {{ $down.tolerance }}
  {{- end }}
  policies:
    - type: Pods
      value: {{ int $down.pods }}
      periodSeconds: {{ int $down.periodSeconds }}
{{- end }}

{{/*
What the pods of `helm test` have in common.
*/}}
{{- define "ws.testPod" -}}
serviceAccountName: {{ include "ws.serviceAccountName" . }}
automountServiceAccountToken: false
enableServiceLinks: false
{{- with .Values.imagePullSecrets }}
imagePullSecrets: {{- toYaml . | nindent 2 }}
{{- end }}
securityContext: {{- include "ws.podSecurityContext" 65532 | nindent 2 }}
{{- with .Values.nodeSelector }}
nodeSelector: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.tolerations }}
tolerations: {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}

{{/*
Pods of the service, for PromQL.
*/}}
{{- define "ws.promSelector" -}}
namespace="{{ .Release.Namespace }}",pod=~"{{ include "ws.fullname" . }}-[a-z0-9]+-[a-z0-9]+"
{{- end }}

{{/*
Those of the adapter.
*/}}
{{- define "ws.adapter.promSelector" -}}
namespace="{{ .Release.Namespace }}",pod=~"{{ include "ws.adapter.name" . }}-[a-z0-9]+-[a-z0-9]+"
{{- end }}

{{/*
Bytes of a quantity such as `512Mi`, or nothing.
*/}}
{{- define "ws.bytes" -}}
{{- $text := include "ws.text" . }}
{{- $number := regexFind "^[0-9.]+([eE][0-9]+)?" $text }}
{{- $units := dict "" 1 "k" 1e3 "M" 1e6 "G" 1e9 "T" 1e12 "Ki" 1024 "Mi" 1048576 "Gi" 1073741824 "Ti" 1099511627776 }}
{{- $unit := get $units (trimPrefix $number $text) }}
{{- if and $number $unit }}{{ mulf (float64 $number) $unit | int64 }}{{ end }}
{{- end }}
