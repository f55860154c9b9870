{{- define "somagent.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 40 | trimSuffix "-" }}
{{- end }}

{{- define "somagent.fullname" -}}
{{- if .Values.fullnameOverride }}
{{- .Values.fullnameOverride | trunc 40 | trimSuffix "-" }}
{{- else if contains (include "somagent.name" .) .Release.Name }}
{{- .Release.Name | trunc 40 | trimSuffix "-" }}
{{- else }}
{{- printf "%s-%s" .Release.Name (include "somagent.name" .) | trunc 40 | trimSuffix "-" }}
{{- end }}
{{- end }}

{{- define "somagent.tag" -}}
{{- default .Chart.AppVersion .Values.image.tag }}
{{- end }}

{{/* A tag as part of a name: lower case letters, digits and dashes. */}}
{{- define "somagent.buildName" -}}
{{- . | lower | replace "." "-" | replace "_" "-" | replace "+" "-" | trunc 20 | trimSuffix "-" }}
{{- end }}

{{- define "somagent.selectorLabels" -}}
app.kubernetes.io/name: {{ include "somagent.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "somagent.labels" -}}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{ include "somagent.selectorLabels" . }}
app.kubernetes.io/version: {{ include "somagent.tag" . | replace "+" "_" | trunc 63 | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
{{- end }}

{{- define "somagent.serviceAccountName" -}}
{{- if .Values.serviceAccount.create }}
{{- default (include "somagent.fullname" .) .Values.serviceAccount.name }}
{{- else }}
{{- default "default" .Values.serviceAccount.name }}
{{- end }}
{{- end }}

{{- define "somagent.claimName" -}}
{{- default (printf "%s-data" (include "somagent.fullname" .)) .Values.persistence.existingClaim }}
{{- end }}

{{/* Pod fields that every pod has. Hooks run before the service account is made, hence it is not among them. */}}
{{- define "somagent.pod" -}}
automountServiceAccountToken: false
# A service called somagent would set SOMAGENT_PORT to an address.
enableServiceLinks: false
{{- with .Values.image.pullSecrets }}
imagePullSecrets:
  {{- range . }}
  - name: {{ . }}
  {{- end }}
{{- end }}
{{- with .Values.priorityClassName }}
priorityClassName: {{ . }}
{{- end }}
securityContext:
  {{- toYaml .Values.podSecurityContext | nindent 2 }}
{{- end }}

{{- define "somagent.secretEnv" -}}
- name: {{ .name }}
  valueFrom:
    secretKeyRef:
      name: {{ .secret }}
      key: {{ .name }}
      {{- if .optional }}
      optional: true
      {{- end }}
{{- end }}

{{/* The environment of API and workers. */}}
{{- define "somagent.env" -}}
{{- $secret := required "secrets.existingSecret: name a secret with the addresses (its keys are in values.yaml)" .Values.secrets.existingSecret -}}
{{- range list "SOMAGENT_POSTGRES_APP_URL" "SOMAGENT_POSTGRES_SYSTEM_URL" "REDIS_URL" }}
{{ include "somagent.secretEnv" (dict "name" . "secret" $secret) }}
{{- end }}
{{- range list "SLM_API_KEY" "SOMAGENT_SQL_CONNECTIONS" "SOMAGENT_WEBHOOKS" }}
{{ include "somagent.secretEnv" (dict "name" . "secret" $secret "optional" true) }}
{{- end }}
- name: SOMAGENT_DATA_DIR
  value: /data
- name: SOMAGENT_POSTGRES_POOL_SIZE
  value: {{ .Values.config.postgresPoolSize | quote }}
- name: SOMAGENT_LOG_LEVEL
  value: {{ .Values.config.logLevel | quote }}
- name: TEMPORAL_ADDRESS
  value: {{ .Values.temporal.address | quote }}
- name: TEMPORAL_NAMESPACE
  value: {{ .Values.temporal.namespace | quote }}
{{- with .Values.temporal.uiUrl }}
- name: TEMPORAL_UI_URL
  value: {{ . | quote }}
{{- end }}
{{- with .Values.kafka.bootstrapServers }}
- name: KAFKA_BOOTSTRAP_SERVERS
  value: {{ . | quote }}
{{- end }}
{{- with .Values.slm.baseUrl }}
- name: SLM_BASE_URL
  value: {{ . | quote }}
- name: SLM_MODEL
  value: {{ $.Values.slm.model | quote }}
- name: SLM_EMBEDDING_MODEL
  value: {{ $.Values.slm.embeddingModel | quote }}
- name: SLM_TIMEOUT_SECONDS
  value: {{ $.Values.slm.timeoutSeconds | quote }}
{{- end }}
- name: SOMAGENT_WORKER_TUNING
  value: {{ .Values.config.workerTuning | quote }}
{{- with .Values.config.rateLimits }}
- name: SOMAGENT_RATE_LIMITS
  value: {{ toJson . | quote }}
{{- end }}
{{- with .Values.config.egressAllow }}
- name: SOMAGENT_EGRESS_ALLOW
  value: {{ join "," . | quote }}
{{- end }}
{{- with .Values.config.shares }}
- name: SOMAGENT_SHARES
  value: {{ toJson . | quote }}
{{- end }}
{{- with .Values.config.extraEnv }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{/* The environment of the scripts that speak to Temporal. */}}
{{- define "somagent.temporalEnv" -}}
- name: TEMPORAL_ADDRESS
  value: {{ .Values.temporal.address | quote }}
- name: TEMPORAL_NAMESPACE
  value: {{ .Values.temporal.namespace | quote }}
# The command keeps its configuration in a home folder.
- name: HOME
  value: /tmp
{{- end }}
