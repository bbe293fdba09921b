# Branchline. "make" alone lists the targets.

SHELL       := /bin/bash
TOOLS       := $(CURDIR)/.tools
STATICCHECK := honnef.co/go/tools/cmd/staticcheck@v0.8.2
GOFUMPT     := mvdan.cc/gofumpt@v0.12.0
GOTESTSUM   := gotest.tools/gotestsum@v1.13.0
OAPI        := github.com/oapi-codegen/oapi-codegen/v2/cmd/oapi-codegen@v2.8.2
DEBIAN      := sip-tester sipsak sipvicious kamailio kamailio-tls-modules baresip-core baresip linphone-cli chromium sox flite
PLATFORMS   := linux/amd64 linux/arm64 linux/arm/7
SUDO        := $(shell [ "$$(id -u)" = 0 ] || echo sudo)

export ARTIFACTS ?= $(CURDIR)/artifacts
export PATH      := $(TOOLS):$(PATH)

.PHONY: help build run demo test deps lint unit phones portal-test journey cross drift ui gen bench fuzz prompts notice release check clean

help: ## list the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

build: ## build ./pbx
	CGO_ENABLED=0 go build -trimpath -ldflags '-s -w' -o pbx ./cmd/pbx

run: ## run from source
	go run ./cmd/pbx

demo: ## run the sample office with simulated phones
	go run ./cmd/pbx demo

test: deps lint cross unit phones portal-test drift journey ## every test, first installing what they need
	@bash .ci/count

check: test ## what CI runs

deps: ## install what the tests need: Debian packages, Go tools, npm packages
	@missing=(); for p in $(DEBIAN); do dpkg -s $$p >/dev/null 2>&1 || missing+=($$p); done; \
	if (( $${#missing[@]} )); then $(SUDO) apt-get update -q && $(SUDO) apt-get install -y -q --no-install-recommends $${missing[@]}; fi
	@mkdir -p $(TOOLS) $(ARTIFACTS) && rm -f $(ARTIFACTS)/*.count
	@[ -x $(TOOLS)/staticcheck ] || GOBIN=$(TOOLS) go install $(STATICCHECK)
	@[ -x $(TOOLS)/gofumpt ] || GOBIN=$(TOOLS) go install $(GOFUMPT)
	@[ -x $(TOOLS)/gotestsum ] || GOBIN=$(TOOLS) go install $(GOTESTSUM)
	@[ -x $(TOOLS)/oapi-codegen ] || GOBIN=$(TOOLS) go install $(OAPI)
	@cd admin/ui && { [ -d node_modules ] && cmp -s package-lock.json node_modules/.installed-lock || { npm ci --no-audit --no-fund && cp package-lock.json node_modules/.installed-lock; }; }

lint: ## vet, staticcheck, gofumpt
	go vet ./... && go vet -tags phones ./cmd/pbx
	$(TOOLS)/staticcheck ./... && $(TOOLS)/staticcheck -tags phones ./cmd/pbx
	@out=$$($(TOOLS)/gofumpt -l $$(git ls-files '*.go')); [ -z "$$out" ] || { echo "gofumpt wants to change:"; echo "$$out"; exit 1; }

unit: ## all Go tests with the race detector, and once more without it what it makes too slow to be done in full
	bash .ci/gotest unit -race -shuffle=on -timeout 15m ./...
	bash .ci/gotest unraced -run 'TestEachMessage|TestDayLongCall|TestSealedRelayAllocatesNothing|TestRandomCalls' ./media ./call/calltest

phones: ## real phones (baresip, linphone, SIPp) and kill -9 against the built program, on loopback
	bash .ci/gotest phones -tags phones -count=1 -timeout 15m -run 'TestPhones|TestKill' ./cmd/pbx

portal-test: ## component tests, types and size budget of the portal
	cd admin/ui && npm test --silent
	cd admin/ui && npm run --silent check && npm run --silent budget

journey: ## the portal in a real browser, screenshots in artifacts/
	bash .ci/gotest journey -tags phones -count=1 -timeout 10m -run 'TestJourney' ./cmd/pbx

drift: ## generated files and the built portal match their sources
	bash .ci/drift

cross: ## build without cgo for every platform
	@set -e; mkdir -p dist; for p in $(PLATFORMS); do IFS=/ read -r os arch arm <<<"$$p"; \
	  CGO_ENABLED=0 GOOS=$$os GOARCH=$$arch GOARM=$$arm go build -trimpath -ldflags '-s -w' -o dist/pbx-$$os-$$arch$${arm:+v$$arm} ./cmd/pbx; \
	  ls -l dist/pbx-$$os-$$arch$${arm:+v$$arm} | awk '{print $$9, $$5}'; done

release: cross ## the cross-built programs with their checksums, in dist/
	cd dist && sha256sum pbx-* > SHA256SUMS && cat SHA256SUMS

ui: ## rebuild the portal into admin/ui/dist
	cd admin/ui && npm ci --no-audit --no-fund && npm run build

gen: ## regenerate what is generated from the contract
	go generate ./...
	cd admin/ui && npm run api

prompts: ## speak the prompts and play the hold music anew (needs flite and sox)
	bash media/prompts/generate.sh

bench: ## benchmarks, readable by benchstat
	go test -p 1 -run '^$$' -bench . -benchmem -count $${COUNT:-5} -timeout 1h ./store/sqlite ./event ./sip ./media ./dialplan ./call/calltest ./provisioning ./admin ./cmd/pbx

fuzz: ## each fuzz target for a short while
	bash .ci/fuzz

notice: ## write NOTICE: what is built in, with its licences
	bash .ci/notice

clean: ## remove what the targets made
	rm -rf pbx dist artifacts .tools
