#!/usr/bin/env bash
# Confab in a local Kubernetes cluster: builds the image, makes the cluster and its secrets, applies the manifests
# and waits until it serves at http://127.0.0.1:8080/. Run again it brings what is there up to date.
#   kind/up.sh          needs docker, kind and kubectl
#   kind/up.sh down     removes the cluster and everything in it
set -euo pipefail
cd "$(dirname "$0")"

readonly CLUSTER=confab IMAGE=confab:0.1.0
kube() { kubectl --context "kind-$CLUSTER" "$@"; }
there() { kube --namespace confab get "$@" >/dev/null 2>&1; }
random() { od -An -N32 -tx1 /dev/urandom | tr -d ' \n'; }

for tool in docker kind kubectl; do
  command -v "$tool" >/dev/null || { echo "$tool is needed and not on the PATH." >&2; exit 1; }
done

if [ "${1:-}" = down ]; then
  exec kind delete cluster --name "$CLUSTER"
fi

docker build --tag "$IMAGE" ..
kind get clusters | grep -qx "$CLUSTER" || kind create cluster --config cluster.yaml --wait 2m
kind load docker-image "$IMAGE" --name "$CLUSTER"

kube apply -f namespace.yaml -f controller.yaml -f network.yaml

# Made once: the stores keep the passwords that they were set up with. By standard input, so that no list of
# processes shows them.
if ! there secret confab; then
  postgres=$(random) mongodb=$(random) redis=$(random)
  kube apply -f - <<SECRETS
apiVersion: v1
kind: Secret
metadata: { name: confab-stores, namespace: confab }
stringData:
  POSTGRES_PASSWORD: "$postgres"
  MONGODB_ROOT_PASSWORD: "$(random)"
  MONGODB_PASSWORD: "$mongodb"
  MONGODB_KEY: "$(random)"
  REDIS_PASSWORD: "$redis"
---
apiVersion: v1
kind: Secret
metadata: { name: confab, namespace: confab }
stringData:
  JWT_SECRET: "$(random)"
  DATABASE_URL: "postgres://confab:$postgres@postgres:5432/confab"
  MONGODB_URL: "mongodb://confab:$mongodb@mongodb:27017/confab?authSource=confab&replicaSet=confab"
  REDIS_URL: "redis://:$redis@redis:6379/0"
SECRETS
fi

kube apply -f stores.yaml
for store in postgres mongodb redis; do
  kube --namespace confab rollout status "statefulset/$store" --timeout 5m
done
kube --namespace confab wait --for=condition=complete job/mongodb-setup --timeout 5m

kube apply -f service.yaml -f deployment.yaml -f disruption.yaml -f ingress.yaml
# The image keeps its name from build to build.
kube --namespace confab rollout restart deployment/confab
kube --namespace confab rollout status deployment/confab --timeout 5m
kube --namespace ingress rollout status deployment/traefik --timeout 5m

if kube get --raw /apis/custom.metrics.k8s.io/v1beta2 >/dev/null 2>&1; then
  kube apply -f autoscaler.yaml
else
  echo "No adapter serves custom metrics here, so the number of nodes stays as it is (autoscaler.yaml)."
fi
echo "Confab is ready: open http://127.0.0.1:8080/ in a browser."
