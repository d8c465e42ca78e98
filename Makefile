# What a person needs: `make demo` shows the main job, `make test` runs all tests. The rest is for work on the code.

CARGO ?= cargo
# Tools and test programs that are built once live outside of the work tree.
CACHE ?= $(or $(UPGRADE_GUARD_CACHE),$(or $(XDG_CACHE_HOME),$(HOME)/.cache)/upgrade-guard)
CARGO_DENY_VERSION := 0.20.2
CARGO_DENY := $(CACHE)/tools/bin/cargo-deny-$(CARGO_DENY_VERSION)
# What the examples in manifests/recipes are made for; tests/generated.rs reads this line.
RECIPE := --policy manifests/policies/stoa.yaml --image upgrade-guard:0.1.0 --release stoa-2.3 --crds-config-map stoa-crds --migrate-image ghcr.io/stoa-platform/control-plane-api:2.3.0 --database-secret stoa-control-plane-api-secrets
export UPGRADE_GUARD_CACHE := $(CACHE)

.PHONY: demo test model image image-test image-docker e2e bench lint deny manifests

demo: ## Show the main job: an upgrade in the wrong and in the right order, without Kubernetes.
	@echo "building (a few minutes the first time)" >&2
	@$(CARGO) build --locked --quiet
	@$(CARGO) run --locked --quiet -- demo

test: ## Run all tests, among them those against a real Kubernetes (builds it once, about eight minutes).
	@tests/cluster/build >/dev/null
	@tests/postgres/install >/dev/null
	@tests/postgres/alembic >/dev/null
	@tests/postgres/pgbouncer >/dev/null
	@tests/prometheus/install >/dev/null
	@tests/helm/install >/dev/null
	INSTA_UPDATE=no $(CARGO) test --locked

model: ## Check the admission protocol state by state, further than the tests do, and print how far (about 10 minutes).
	UPGRADE_GUARD_MODEL=full $(CARGO) test --locked --release --test model -- --nocapture --test-threads=1

image: ## Build the image and its bill of materials into target/image, without a registry or a daemon.
	image/build

image-test: ## Look into the image that `make image` built, and run the program inside of it (as root).
	$(CARGO) test --locked --test image

image-docker: ## Build the image with `docker build`, and ask the same of it (as root; about fifteen minutes).
	tests/image/docker

e2e: image ## Install the chart on a real node, and upgrade, break and replace what runs there (as root, about 5 minutes).
	$(CARGO) test --locked --test e2e

bench: ## Print figures and ratios against a baseline of the same run, of the program as the image has it.
	image/static $(CARGO) bench --locked --profile image

lint: ## Check format and lints.
	$(CARGO) fmt --check
	$(CARGO) clippy --locked --all-targets -- -D warnings
	$(CARGO) clippy --locked --test image --test e2e -- -D warnings

deny: $(CARGO_DENY) ## Check licences, sources and bans; advisories are printed and fail nothing.
	$(CARGO_DENY) --locked check --hide-inclusion-graph licenses bans sources
	-$(CARGO_DENY) --locked check --hide-inclusion-graph advisories

$(CARGO_DENY):
	$(CARGO) install --locked --quiet --root $(CACHE)/tools cargo-deny@$(CARGO_DENY_VERSION)
	mv $(CACHE)/tools/bin/cargo-deny $@

manifests: ## Write the manifests and pages that are generated from the code.
	$(CARGO) run --locked --quiet -- crds --dir manifests/crds
	$(CARGO) run --locked --quiet -- crds --dir charts/upgrade-guard/crds
	$(CARGO) run --locked --quiet -- webhook > manifests/webhook.yaml
	$(CARGO) run --locked --quiet -- webhook --helm > charts/upgrade-guard/templates/webhooks.yaml
	charts/manifests
	$(CARGO) run --locked --quiet -- rules --markdown > docs/rules.md
	$(CARGO) run --locked --quiet -- metrics --markdown > docs/metrics.md
	for engine in argocd flux helm; do $(CARGO) run --locked --quiet -- recipe $$engine $(RECIPE) --dir manifests/recipes/$$engine || exit 1; done
	$(CARGO) run --locked --quiet -- crds checks --markdown > docs/crd-checks.md
	$(CARGO) run --locked --quiet -- lint --checks --markdown > docs/migration-checks.md
	$(CARGO) run --locked --quiet -- crds reference --markdown > docs/policy.md
	$(CARGO) run --locked --quiet -- completions --markdown > docs/cli.md
