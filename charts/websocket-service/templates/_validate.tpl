{{/*
What cannot work is refused here, with a sentence that says what to change. What has a wrong type or an unknown name is
refused by values.schema.json before.
*/}}
{{- define "ws.validate" -}}
{{- $v := .Values }}
{{- $mode := include "ws.redis.mode" . }}

{{- /* Settings that follow from other values. */}}
{{- $owned := dict
  "port" "service.port, or leave it: pods listen on 8004"
  "admin_port" "nothing: it is 9004"
  "max_connections" "capacity.connectionsPerPod"
  "tls_certificate" "service.tlsSecret"
  "tls_key" "service.tlsSecret"
  "redis_url" "redis.url or redis.existingSecret"
  "redis_sentinels" "redis.sentinel.servers"
  "redis_sentinel_master" "redis.sentinel.master"
  "redis_sentinel_user" "redis.sentinel.user"
  "redis_sentinel_password" "redis.sentinel.existingSecret"
  "redis_cluster_nodes" "redis.cluster.nodes"
  "redis_cluster_pubsub" "redis.cluster.pubsub"
  "redis_tls_ca" "redis.tls.caSecret"
  "redis_tls_certificate" "redis.tls.clientSecret"
  "redis_tls_key" "redis.tls.clientSecret"
  "jwt_secret_key" "jwt.existingSecret or jwt.secret"
  "jwt_public_key" "jwt.existingSecret or jwt.publicKey"
  "jwt_previous_secret_key" "jwt.existingSecretPreviousKey"
  "jwt_previous_public_key" "jwt.existingSecretPreviousKey"
  "jwt_keys_dir" "jwt.keysSecret"
  "api_key" "apiKey.existingSecret or apiKey.value"
  "drain_lame_duck_seconds" "drain.lameDuckSeconds"
  "drain_spread_seconds" "drain.spreadSeconds"
  "drain_linger_seconds" "drain.lingerSeconds"
  "drain_close_code" "drain.closeCode" }}
{{- range $name, $use := $owned }}
{{- if hasKey $v.settings $name }}
{{- fail (printf "settings.%s is set by the chart: use %s instead." $name $use) }}
{{- end }}
{{- end }}

{{- /* Pods. */}}
{{- if and $v.autoscaling.enabled (not (kindIs "invalid" $v.replicas)) }}
{{- fail (printf "replicas is %v while autoscaling owns the number of pods: remove replicas (autoscaling.minReplicas and maxReplicas bound it), or set autoscaling.enabled to false." $v.replicas) }}
{{- end }}
{{- if and $v.autoscaling.enabled (gt (int $v.autoscaling.minReplicas) (int $v.autoscaling.maxReplicas)) }}
{{- fail (printf "autoscaling.minReplicas (%d) is above autoscaling.maxReplicas (%d): raise the latter." (int $v.autoscaling.minReplicas) (int $v.autoscaling.maxReplicas)) }}
{{- end }}
{{- if and (eq $mode "none") (gt (int (include "ws.mostReplicas" .)) 1) }}
{{- if $v.autoscaling.enabled }}
{{- fail "There can be more than one pod but there is no Redis, so messages would reach only some of a user's connections: set redis.bundled.enabled to true, or give redis.url or redis.existingSecret, or set autoscaling.enabled to false." }}
{{- else }}
{{- fail (printf "replicas is %v but there is no Redis, so messages would reach only some of a user's connections: set redis.bundled.enabled to true, or give redis.url or redis.existingSecret, or set replicas to 1." $v.replicas) }}
{{- end }}
{{- end }}
{{- if and $v.autoscaling.enabled (eq $v.autoscaling.provider "resource") (kindIs "invalid" $v.autoscaling.targetCPUPercent) }}
{{- fail "autoscaling.provider is resource, but autoscaling.targetCPUPercent is unset: nothing is left to scale by. Give it a value, or choose another provider." }}
{{- end }}
{{- if and $v.autoscaling.enabled (not (kindIs "invalid" $v.autoscaling.targetCPUPercent)) (not (dig "requests" "cpu" nil $v.resources)) (not (dig "limits" "cpu" nil $v.resources)) }}
{{- fail "autoscaling.targetCPUPercent is a share of resources.requests.cpu, which is not set: set it, or set autoscaling.targetCPUPercent to null." }}
{{- end }}
{{- if and $v.autoscaling.enabled (eq $v.autoscaling.provider "keda") (eq $v.autoscaling.keda.trigger "prometheus") (not $v.autoscaling.keda.prometheusAddress) }}
{{- fail "autoscaling.keda.trigger is prometheus, but autoscaling.keda.prometheusAddress is empty: give Prometheus' address." }}
{{- end }}

{{- /* Redis. */}}
{{- if and $v.redis.url $v.redis.existingSecret }}
{{- fail "redis.url and redis.existingSecret are both given: remove one." }}
{{- end }}
{{- if and $v.redis.sentinel.servers $v.redis.cluster.nodes }}
{{- fail "redis.sentinel.servers and redis.cluster.nodes are both given: remove one, for a cluster has no sentinels." }}
{{- end }}
{{- if and (or $v.redis.sentinel.servers $v.redis.cluster.nodes $v.redis.tls.caSecret $v.redis.tls.clientSecret) (not (has $mode (list "url" "existing"))) }}
{{- fail "redis.sentinel, redis.cluster and redis.tls are for a Redis of your own: give redis.url or redis.existingSecret, or remove them." }}
{{- end }}
{{- if and (or $v.redis.tls.caSecret $v.redis.tls.clientSecret) (eq $mode "url") (not (hasPrefix "rediss://" $v.redis.url)) }}
{{- fail "redis.tls is given, but redis.url does not ask for TLS: make it rediss://, or remove redis.tls." }}
{{- end }}
{{- if and (or $v.redis.sentinel.user $v.redis.sentinel.existingSecret) (not $v.redis.sentinel.servers) }}
{{- fail "redis.sentinel.user and redis.sentinel.existingSecret are for sentinels, of which there are none: list redis.sentinel.servers, or remove them." }}
{{- end }}
{{- if and $v.redis.sentinel.user (not $v.redis.sentinel.existingSecret) }}
{{- fail "redis.sentinel.user needs its password: give redis.sentinel.existingSecret." }}
{{- end }}
{{- if $v.redis.cluster.nodes }}
{{- if and (eq $mode "url") (regexMatch "^rediss?://[^/?#]*/+[0-9]*[1-9]" $v.redis.url) }}
{{- fail "redis.url names a database, of which a cluster (redis.cluster.nodes) has only 0: leave the number at its end out." }}
{{- end }}
{{- if regexMatch "[{}]" (toString $v.settings.websocket_channel_prefix) }}
{{- fail (printf "settings.websocket_channel_prefix is %s: a brace would part a user's keys in a cluster (redis.cluster.nodes). Choose a prefix without braces." $v.settings.websocket_channel_prefix) }}
{{- end }}
{{- end }}

{{- if and (regexMatch "[{}]" (toString $v.settings.websocket_channel_prefix)) (ne (toString $v.settings.history_size) "0") }}
{{- fail (printf "settings.websocket_channel_prefix is %s: it must have no braces while there is history. Choose another, or set settings.history_size to 0." $v.settings.websocket_channel_prefix) }}
{{- end }}

{{- /* Keys. */}}
{{- $production := eq $v.settings.environment "production" }}
{{- if and $v.jwt.existingSecret (or $v.jwt.secret $v.jwt.publicKey) }}
{{- fail "jwt.existingSecret and a key in place (jwt.secret or jwt.publicKey) are both given: remove one." }}
{{- end }}
{{- if and $v.jwt.existingSecretPreviousKey (not $v.jwt.existingSecret) }}
{{- fail "jwt.existingSecretPreviousKey names a key within jwt.existingSecret, which is empty: give it." }}
{{- end }}
{{- if $v.settings.jwt_jwks_url }}
{{- if include "ws.jwt.shared" . }}
{{- fail (printf "settings.jwt_jwks_url is given, but %s has a shared key, which nobody publishes: set settings.jwt_algorithm to the issuer's own, e.g. RS256." (include "ws.jwt.algorithm" .)) }}
{{- end }}
{{- if or $v.jwt.existingSecret $v.jwt.secret $v.jwt.publicKey $v.jwt.keysSecret }}
{{- fail "settings.jwt_jwks_url takes the place of the keys in jwt (existingSecret, secret, publicKey, keysSecret): remove one or the other." }}
{{- end }}
{{- end }}
{{- if include "ws.jwt.shared" . }}
{{- if $v.jwt.publicKey }}
{{- fail (printf "jwt.publicKey is given, but %s has a shared key: give jwt.secret instead, or set settings.jwt_algorithm." (include "ws.jwt.algorithm" .)) }}
{{- end }}
{{- if and $production $v.jwt.secret (lt (len $v.jwt.secret) 32) }}
{{- fail (printf "jwt.secret has %d bytes, and production asks for 32 at least: give a longer one, e.g. of `openssl rand -hex 32`." (len $v.jwt.secret)) }}
{{- end }}
{{- else }}
{{- if $v.jwt.secret }}
{{- fail (printf "jwt.secret is given, but %s has a public key: give jwt.publicKey instead, or set settings.jwt_algorithm to HS256." (include "ws.jwt.algorithm" .)) }}
{{- end }}
{{- if not (or $v.jwt.existingSecret $v.jwt.publicKey $v.jwt.keysSecret $v.settings.jwt_jwks_url) }}
{{- fail (printf "settings.jwt_algorithm is %s, whose key cannot be made up: give jwt.existingSecret, jwt.publicKey, jwt.keysSecret or settings.jwt_jwks_url." (include "ws.jwt.algorithm" .)) }}
{{- end }}
{{- end }}
{{- if and $v.apiKey.existingSecret $v.apiKey.value }}
{{- fail "apiKey.existingSecret and apiKey.value are both given: remove one." }}
{{- end }}
{{- if and $production $v.apiKey.value (lt (len $v.apiKey.value) 16) }}
{{- fail (printf "apiKey.value has %d bytes, and production asks for 16 at least: give a longer one." (len $v.apiKey.value)) }}
{{- end }}

{{- /* Going away and rolling out. */}}
{{- if lt (int (include "ws.grace" .)) (int (include "ws.drain.budget" .)) }}
{{- fail (printf "terminationGracePeriodSeconds (%s) is below what a drain takes (drain.lameDuckSeconds %d + spreadSeconds %d + lingerSeconds %d + marginSeconds %d = %s): the last connections would be cut by SIGKILL. Remove it, raise it, or shorten the drain." (include "ws.grace" .) (int $v.drain.lameDuckSeconds) (int $v.drain.spreadSeconds) (int $v.drain.lingerSeconds) (int $v.drain.marginSeconds) (include "ws.drain.budget" .)) }}
{{- end }}
{{- if has (include "ws.maxSurge" .) (list "0" "0%") }}
{{- fail "rollout.maxSurge is 0, and no pod may leave before a new one is ready, so no rollout could begin: give 1 or more." }}
{{- end }}
{{- if le (int (include "ws.progressDeadline" .)) (int $v.rollout.minReadySeconds) }}
{{- fail (printf "rollout.progressDeadlineSeconds (%s) must be above rollout.minReadySeconds (%d): raise it or remove it." (include "ws.progressDeadline" .) (int $v.rollout.minReadySeconds)) }}
{{- end }}
{{- $pdb := $v.podDisruptionBudget }}
{{- if $pdb.enabled }}
{{- if and (not (kindIs "invalid" $pdb.maxUnavailable)) (not (kindIs "invalid" $pdb.minAvailable)) }}
{{- fail "podDisruptionBudget.maxUnavailable and podDisruptionBudget.minAvailable are both given, and Kubernetes takes one: remove one." }}
{{- end }}
{{- if and (not (kindIs "invalid" $pdb.minAvailable)) (not (kindIs "string" $pdb.minAvailable)) (ge (int $pdb.minAvailable) (int (include "ws.leastReplicas" .))) }}
{{- fail (printf "podDisruptionBudget.minAvailable (%d) is as many as there may be pods (%s), so no node could ever be drained: lower it, or give maxUnavailable instead." (int $pdb.minAvailable) (include "ws.leastReplicas" .)) }}
{{- end }}
{{- end }}

{{- /* Monitoring and routes. */}}
{{- if and $v.monitoring.serviceMonitor.enabled $v.monitoring.podMonitor.enabled }}
{{- fail "monitoring.serviceMonitor and monitoring.podMonitor are both enabled, so everything would be counted twice: disable one." }}
{{- end }}
{{- if and $v.ingress.enabled (not $v.ingress.hosts) }}
{{- fail "ingress.enabled is true, but ingress.hosts is empty: give a host, e.g. ingress.hosts[0].host=ws.example.com." }}
{{- end }}
{{- if and $v.httpRoute.enabled (not $v.httpRoute.parentRefs) }}
{{- fail "httpRoute.enabled is true, but httpRoute.parentRefs is empty: name a Gateway, e.g. httpRoute.parentRefs[0].name=public." }}
{{- end }}
{{- if and (eq $v.service.type "ClusterIP") (not (kindIs "invalid" $v.service.nodePort)) }}
{{- fail "service.nodePort is given, but service.type is ClusterIP: set it to NodePort or LoadBalancer, or remove nodePort." }}
{{- end }}

{{- /* The metrics API. */}}
{{- if include "ws.adapter.enabled" . }}
{{- $tls := $v.metricsAdapter.tls }}
{{- if eq $tls.mode "secret" }}
{{- if not $tls.existingSecret }}
{{- fail "metricsAdapter.tls.mode is secret, but metricsAdapter.tls.existingSecret is empty: name the Secret with tls.crt and tls.key, or choose the mode self or cert-manager." }}
{{- end }}
{{- if not $tls.caBundle }}
{{- fail "metricsAdapter.tls.mode is secret, but metricsAdapter.tls.caBundle is empty: give the CA in PEM, base64-encoded, or choose the mode self or cert-manager." }}
{{- end }}
{{- else if or $tls.existingSecret $tls.caBundle }}
{{- fail (printf "metricsAdapter.tls.existingSecret and caBundle are for the mode secret, and metricsAdapter.tls.mode is %s: remove them, or set the mode to secret." $tls.mode) }}
{{- end }}
{{- range list "v1beta1" "v1beta2" }}
{{- $name := printf "%s.custom.metrics.k8s.io" . }}
{{- $there := lookup "apiregistration.k8s.io/v1" "APIService" "" $name }}
{{- if $there }}
{{- $by := $there.metadata.annotations | default dict }}
{{- $release := get $by "meta.helm.sh/release-name" }}{{ $namespace := get $by "meta.helm.sh/release-namespace" }}
{{- if or (ne $release $.Release.Name) (ne $namespace $.Release.Namespace) }}
{{- $owner := ternary (printf "the release %s in the namespace %s" $release $namespace) "something that Helm did not install" (ne $release "") }}
{{- fail (printf "The APIService %s belongs to %s, and a cluster can have one provider of custom metrics: set autoscaling.provider to keda, prometheus-adapter or resource, or remove that one." $name $owner) }}
{{- end }}
{{- end }}
{{- end }}
{{- end }}
{{- end }}
