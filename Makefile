# SPDX-License-Identifier: Apache-2.0
# A thin front: the work is done by meson and by the scripts in tools/.
PREFIX ?= /usr/local

build: ## build into build/ (installs what is missing, as root)
	@tools/build

demo: build ## freeze a server and bring it back, on this machine (as root)
	@tools/demo

test: ## everything, with sanitizers; ends with "N passed, N failed, N skipped"
	@tools/test

check: ## the tests of the plain build only
	@tools/test --quick

lint: build ## look over the source without running it
	@tools/install-dependencies test
	@tools/lint

format: ## format the C files in place
	@find src tests examples bench -name '*.[ch]' -exec clang-format -i {} +

cluster: ## a Kubernetes of two nodes on this machine, which stays (as root)
	@tools/cluster up

cluster-down: ## remove all of it
	@tools/cluster down

install: ## install below PREFIX (default /usr/local; DESTDIR is honoured)
	@tools/install $(PREFIX)

images: ## images of the agent and the command line, by buildah; BASE=IMAGE: a placeholder of it, too
	@tools/install-dependencies build deploy
	@tools/build-images --save build-images $(if $(BASE),--base $(BASE))

clean: ## remove what was built
	@rm -rf build build-asan build-tsan build-clang build-install build-images

help: ## this list
	@sed -n 's/^\([a-z-]*\):.*## /\1\t/p' Makefile | expand -t 14

.PHONY: build demo test check lint format cluster cluster-down install images clean help
