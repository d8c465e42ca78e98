{{/* The labels that mark every object of the release. */}}
{{- define "upgrade-guard.labels" -}}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" | trunc 63 | trimSuffix "-" }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
{{ include "upgrade-guard.selector" . }}
{{- end }}

{{/* The labels that tell this install's pods from others. */}}
{{- define "upgrade-guard.selector" -}}
app.kubernetes.io/name: upgrade-guard
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "upgrade-guard.image" -}}
{{- if .Values.image.digest -}}
{{ .Values.image.repository }}@{{ .Values.image.digest }}
{{- else -}}
{{ .Values.image.repository }}:{{ .Values.image.tag | default .Chart.AppVersion }}
{{- end -}}
{{- end }}

{{/* The Secret with the certificates, where one is mounted. */}}
{{- define "upgrade-guard.certificatesSecret" -}}
{{- if eq .Values.certificates.mode "certManager" -}}
upgrade-guard-tls
{{- else if eq .Values.certificates.mode "existingSecret" -}}
{{ .Values.certificates.existingSecret }}
{{- end -}}
{{- end }}

{{/* What makes cert-manager write the CA into the webhook configurations. */}}
{{- define "upgrade-guard.caInjection" -}}
{{- if eq .Values.certificates.mode "certManager" -}}
cert-manager.io/inject-ca-from: {{ .Release.Namespace }}/upgrade-guard
{{- end -}}
{{- end }}

{{/* What no container of ours needs. */}}
{{- define "upgrade-guard.containerSecurity" -}}
allowPrivilegeEscalation: false
capabilities:
  drop: [ALL]
readOnlyRootFilesystem: true
{{- end }}

{{- define "upgrade-guard.podSecurity" -}}
runAsNonRoot: true
runAsUser: 65532
runAsGroup: 65532
fsGroup: 65532
seccompProfile:
  type: RuntimeDefault
{{- end }}

{{/*
A Job of the release: its account, what that may do in the whole cluster, and the Job itself.
  root: the chart; name; hook: when it runs; args; rules: of the ClusterRole
*/}}
{{- define "upgrade-guard.hook" -}}
{{- $root := .root -}}
{{- $annotations := printf "helm.sh/hook: %s\nhelm.sh/hook-delete-policy: before-hook-creation,hook-succeeded" .hook -}}
apiVersion: v1
kind: ServiceAccount
metadata:
  name: {{ .name }}
  namespace: {{ $root.Release.Namespace }}
  labels:
    {{- include "upgrade-guard.labels" $root | nindent 4 }}
    app.kubernetes.io/component: hook
  annotations:
    {{- $annotations | nindent 4 }}
    helm.sh/hook-weight: "-10"
# Only the pod of the Job asks for a token.
automountServiceAccountToken: false
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata:
  name: {{ .name }}
  labels:
    {{- include "upgrade-guard.labels" $root | nindent 4 }}
    app.kubernetes.io/component: hook
  annotations:
    {{- $annotations | nindent 4 }}
    helm.sh/hook-weight: "-10"
rules:
  {{- .rules | nindent 2 }}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata:
  name: {{ .name }}
  labels:
    {{- include "upgrade-guard.labels" $root | nindent 4 }}
    app.kubernetes.io/component: hook
  annotations:
    {{- $annotations | nindent 4 }}
    helm.sh/hook-weight: "-9"
roleRef:
  apiGroup: rbac.authorization.k8s.io
  kind: ClusterRole
  name: {{ .name }}
subjects:
  - kind: ServiceAccount
    name: {{ .name }}
    namespace: {{ $root.Release.Namespace }}
---
apiVersion: batch/v1
kind: Job
metadata:
  name: {{ .name }}
  namespace: {{ $root.Release.Namespace }}
  labels:
    {{- include "upgrade-guard.labels" $root | nindent 4 }}
    app.kubernetes.io/component: hook
  annotations:
    {{- $annotations | nindent 4 }}
    helm.sh/hook-weight: "0"
spec:
  # The program itself waits for what may come; a pod that was lost is made again.
  backoffLimit: 2
  activeDeadlineSeconds: 600
  # One that failed stays for its log.
  ttlSecondsAfterFinished: 86400
  template:
    metadata:
      labels:
        {{- include "upgrade-guard.labels" $root | nindent 8 }}
        app.kubernetes.io/component: hook
    spec:
      restartPolicy: Never
      serviceAccountName: {{ .name }}
      automountServiceAccountToken: true
      {{- with $root.Values.imagePullSecrets }}
      imagePullSecrets:
        {{- toYaml . | nindent 8 }}
      {{- end }}
      securityContext:
        {{- include "upgrade-guard.podSecurity" $root | nindent 8 }}
      containers:
        - name: upgrade-guard
          image: {{ include "upgrade-guard.image" $root }}
          imagePullPolicy: {{ $root.Values.image.pullPolicy }}
          args:
            {{- toYaml .args | nindent 12 }}
          resources:
            requests: {cpu: 50m, memory: 64Mi}
            limits: {memory: 256Mi}
          securityContext:
            {{- include "upgrade-guard.containerSecurity" $root | nindent 12 }}
      {{- with $root.Values.nodeSelector }}
      nodeSelector:
        {{- toYaml . | nindent 8 }}
      {{- end }}
      {{- with $root.Values.tolerations }}
      tolerations:
        {{- toYaml . | nindent 8 }}
      {{- end }}
{{- end }}
