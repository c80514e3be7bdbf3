{{- define "heliograph.name" -}}
{{- if contains .Chart.Name .Release.Name }}{{ .Release.Name | trunc 40 | trimSuffix "-" }}
{{- else }}{{ printf "%s-%s" .Release.Name .Chart.Name | trunc 40 | trimSuffix "-" }}
{{- end }}
{{- end }}

{{- define "heliograph.image" -}}
{{ .Values.image.repository }}:{{ .Values.image.tag | default .Chart.AppVersion }}
{{- end }}

{{/* What all of one role's objects are found by; takes (list $ "role"). */}}
{{- define "heliograph.selector" -}}
app.kubernetes.io/name: {{ (index . 0).Chart.Name }}
app.kubernetes.io/instance: {{ (index . 0).Release.Name }}
app.kubernetes.io/component: {{ index . 1 }}
{{- end }}

{{- define "heliograph.labels" -}}
{{ include "heliograph.selector" . }}
app.kubernetes.io/version: {{ (index . 0).Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ (index . 0).Release.Service }}
helm.sh/chart: {{ printf "%s-%s" (index . 0).Chart.Name (index . 0).Chart.Version }}
{{- end }}

{{/* The metadata of a role's pods. */}}
{{- define "heliograph.podMetadata" -}}
labels:
  {{- include "heliograph.labels" . | nindent 2 }}
  {{- with (index . 0).Values.podLabels }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
{{- with (index . 0).Values.podAnnotations }}
annotations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}

{{/* What every pod's spec has. */}}
{{- define "heliograph.pod" -}}
serviceAccountName: {{ include "heliograph.name" . }}
automountServiceAccountToken: false
enableServiceLinks: false
{{- with .Values.imagePullSecrets }}
imagePullSecrets:
  {{- toYaml . | nindent 2 }}
{{- end }}
securityContext:
  runAsNonRoot: true
  runAsUser: 10001
  runAsGroup: 10001
  fsGroup: 10001
  seccompProfile:
    type: RuntimeDefault
{{- with .Values.priorityClassName }}
priorityClassName: {{ . }}
{{- end }}
{{- with .Values.nodeSelector }}
nodeSelector:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.tolerations }}
tolerations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.affinity }}
affinity:
  {{- toYaml . | nindent 2 }}
{{- end }}
volumes:
  - name: tmp
    emptyDir: {}
  - name: run
    emptyDir: {}
  {{- with .Values.extraVolumes }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
{{- end }}

{{/* Replicas go to different nodes where there are some; takes (list $ "role"). */}}
{{- define "heliograph.spread" -}}
topologySpreadConstraints:
  - maxSkew: 1
    topologyKey: kubernetes.io/hostname
    whenUnsatisfiable: ScheduleAnyway
    labelSelector:
      matchLabels:
        {{- include "heliograph.selector" . | nindent 8 }}
{{- end }}

{{/* What every container has, its environment left open for more. */}}
{{- define "heliograph.container" -}}
image: {{ include "heliograph.image" . }}
imagePullPolicy: {{ .Values.image.pullPolicy }}
securityContext:
  allowPrivilegeEscalation: false
  readOnlyRootFilesystem: true
  capabilities:
    drop: [ALL]
volumeMounts:
  - name: tmp
    mountPath: /tmp
  - name: run
    mountPath: /run/heliograph
  {{- with .Values.extraVolumeMounts }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
env:
  {{- $secret := required "Set existingSecret to the name of a Secret with MESSAGING_DATABASE_URL, MESSAGING_BROKER_URL and MESSAGING_SECRET_KEY." .Values.existingSecret }}
  {{- range tuple "MESSAGING_DATABASE_URL" "MESSAGING_BROKER_URL" "MESSAGING_SECRET_KEY" }}
  - name: {{ . }}
    valueFrom:
      secretKeyRef:
        name: {{ $secret }}
        key: {{ . }}
  {{- end }}
  - name: MESSAGING_REDIS_URL
    valueFrom:
      secretKeyRef:
        name: {{ $secret }}
        key: MESSAGING_REDIS_URL
        optional: true
  {{- with .Values.sentinel.master }}
  - name: MESSAGING_SENTINEL_MASTER
    value: {{ . | quote }}
  {{- end }}
  {{- if .Values.rabbitmq.quorumQueues }}
  - name: MESSAGING_RABBITMQ_QUEUE_TYPE
    value: quorum
  {{- end }}
  {{- range $name, $value := .Values.settings }}
  - name: {{ $name }}
    value: {{ $value | toString | quote }}
  {{- end }}
{{- end }}

{{/* The token that /metrics asks for, in the environment of who serves it. */}}
{{- define "heliograph.metricsToken" -}}
- name: MESSAGING_METRICS_TOKEN
  valueFrom:
    secretKeyRef:
      name: {{ .Values.existingSecret }}
      key: {{ .Values.monitoring.tokenKey }}
{{- end }}

{{/* The same, for who asks. */}}
{{- define "heliograph.scrape" -}}
path: /metrics
interval: {{ .Values.monitoring.interval }}
authorization:
  credentials:
    name: {{ .Values.existingSecret }}
    key: {{ .Values.monitoring.tokenKey }}
{{- end }}

{{/* Ready when it first says that it is well, and started again when it says so no more; takes (list $ command). */}}
{{- define "heliograph.probes" -}}
{{- $probe := (index . 0).Values.probe -}}
startupProbe:
  exec:
    command:
      {{- toYaml (index . 1) | nindent 6 }}
  periodSeconds: 10
  timeoutSeconds: {{ $probe.timeoutSeconds }}
  failureThreshold: 30
livenessProbe:
  exec:
    command:
      {{- toYaml (index . 1) | nindent 6 }}
  periodSeconds: {{ $probe.periodSeconds }}
  timeoutSeconds: {{ $probe.timeoutSeconds }}
  failureThreshold: {{ $probe.failureThreshold }}
{{- end }}

{{/* How many batches a pool has to do; takes the pool. Counts up to twice what its last replica is for, through the
partial indexes of what is due and of what is leased. What is paused or whose provider is stopped waits for somebody,
and no replica would help. */}}
{{- define "heliograph.due" -}}
{{- $wanted := .autoscaling -}}
SELECT count(*) FROM (
  SELECT 1 FROM batches b
    JOIN messages m ON m.id = b.message_id AND m.state = 2
    JOIN providers p ON p.id = b.provider_id AND p.enabled AND (p.stopped_at IS NULL OR p.stopped_until <= now())
   WHERE b.channel = '{{ $wanted.channel }}' AND b.lane = '{{ $wanted.lane }}'
     AND (b.state = 0 AND b.due_at <= now() OR b.state = 1 AND b.lease_until > '-infinity')
   LIMIT {{ mul $wanted.max $wanted.batches 2 }}
) AS work
{{- end }}
