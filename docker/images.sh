#!/bin/bash
# Build images without a Docker engine, and run what they are for in them. `make images` calls it.
#
#     docker/images.sh main vllm        needs root, buildah and debootstrap
#
# The base is Debian bookworm, made by debootstrap, or the image in BASE. pip installs in the build as it does
# on this machine: its settings are given to the build as a secret, and the files that they name are mounted.
# Nothing of them is in an image. DEVICE=cuda for GPUs; the check runs on CPUs only.
set -euo pipefail
cd "$(dirname "$0")/.."

pip=${PIP:-.venv/bin/pip}
state=$PWD/build/images
version=$(sed -n 's/^version = "\(.*\)"/\1/p' pyproject.toml)
device=${DEVICE:-cpu}
mkdir -p "$state"
secret=$(mktemp -d "$state/secret.XXXXXX")
mounted=
trap 'for each in $mounted; do umount "$each" || true; done; rm -rf "$secret"' EXIT

buildah=(buildah --storage-driver vfs --root "$state/storage" --runroot "$state/run")

for tool in buildah debootstrap; do
    command -v "$tool" >/dev/null || { echo "$tool is missing: apt-get install buildah debootstrap" >&2; exit 1; }
done
[[ $(id -u) == 0 ]] || { echo "root is needed: buildah isolates by chroot here" >&2; exit 1; }

# The base image of all; from Debian's archive, 40 seconds.
base=${BASE:-localhost/figa-base}
if [[ -z ${BASE:-} ]] && ! "${buildah[@]}" inspect --type image "$base" >/dev/null 2>&1; then
    [[ -e $state/base/etc/debian_version && ! -e $state/base/debootstrap ]] \
        || { rm -rf "$state/base"; debootstrap --variant=minbase bookworm "$state/base" >"$state/base.log"; }
    container=$("${buildah[@]}" from scratch)
    "${buildah[@]}" add --quiet "$container" "$state/base" / >/dev/null
    "${buildah[@]}" commit --quiet --rm "$container" "$base" >/dev/null
    rm -rf "$state/base"
fi

# This machine's settings of pip as a file, and what it needs to reach an index.
"$pip" config list | LC_ALL=C sort -r | sed -nE "s/^(global|:env:)\.(.*)='(.*)'$/\2 = \3/p" | grep -v '^constraint' \
    | tac | awk -F' = ' '!seen[$1]++' | sed '1i [global]' >"$secret/pip.conf"
sed -n 's/.* = //p' "$secret/pip.conf" | tr ' ' '\n' | grep -E '^(file:|http|/)' | grep -v '^/etc/ssl/' >"$secret/addresses" || true
# Everything is mounted at one neutral place, which is empty in the image.
volumes=(--volume "$secret:/run/pip:ro")
number=0
for path in $(sed 's/=/ /; s#file://##g' "$secret/pip.conf" | tr ' ' '\n' | grep '^/' | sed 's#/simple$##' | sort -ru); do
    [[ -e $path ]] || continue
    cp -rlL "$path" "$secret/$number" 2>/dev/null || { rm -rf "${secret:?}/$number"; cp -rL "$path" "$secret/$number"; }
    sed -i "s#$path#/run/pip/$number#g" "$secret/pip.conf"
    number=$((number + 1))
done

mount_into() {  # SOURCE TARGET
    mkdir -p "$2"
    mount --bind "$1" "$2"
    mounted="$2 $mounted"
}

inside() {  # ROOT COMMAND ...: as the image's user, with its environment
    local root=$1
    shift
    chroot --userspec 1000:1000 "$root" /usr/bin/env -i HOME=/home/figa \
        PATH=/opt/figa/bin:/usr/bin:/bin PYTHONDONTWRITEBYTECODE=1 \
        OMP_NUM_THREADS=1 "$@"
}

image_of() {  # NAME: figa for main, figa-NAME for others
    echo "localhost/figa$([[ $1 == main ]] || echo "-$1"):$version-$device"
}

nothing_of_this_machine() {  # ROOT: no settings of pip, and none of the addresses in them
    local root=$1 found
    local places=("$root/etc" "$root/opt" "$root/home" "$root/run" "$root/var")
    found=$(find "${places[@]}" -name pip.conf -o -path '*/run/pip/*')
    found+=$(printf '/run/pip\n' | cat - "$secret/addresses" \
        | grep --recursive --devices=skip --files-with-matches --fixed-strings --file - "${places[@]}" || true)
    [[ -z $found ]] || { printf "of this machine's pip, in the image:\n%s\n" "$found" >&2; return 1; }
}

check() {  # NAME
    local container root
    container=$("${buildah[@]}" from "$(image_of "$1")")
    root=$("${buildah[@]}" mount "$container")
    mount_into /proc "$root/proc"
    mount_into /dev "$root/dev"
    mount_into /dev/shm "$root/dev/shm"
    mount_into /sys "$root/sys"
    cp /etc/hosts "$root/etc/hosts"  # a container's engine gives it one
    cp -r build/sandbox "$root/data/sandbox"
    chown -R 1000:1000 "$root/data/sandbox"
    install -D -m 644 "docker/check_$1.py" "$root/tmp/check.py"
    nothing_of_this_machine "$root"
    [[ $1 != main || $(inside "$root" figa --version) == "figa $version" ]]
    inside "$root" python /tmp/check.py
    for each in $mounted; do umount "$each"; done
    mounted=
    "${buildah[@]}" umount "$container" >/dev/null
    "${buildah[@]}" rm "$container" >/dev/null
}

size_of() {  # IMAGE
    "${buildah[@]}" images --format '{{.Size}}' "$1"
}

[[ -n ${BASE:-} ]] || echo "$base: $(size_of "$base")"
for name in "$@"; do
    image=$(image_of "$name")
    begun=$SECONDS
    "${buildah[@]}" bud --isolation chroot --format docker --layers=false --network host \
        --file "docker/$name.Dockerfile" --build-arg BASE="$base" --build-arg DEVICE="$device" \
        --build-arg VERSION="$version" --secret id=pip,src="$secret/pip.conf" "${volumes[@]}" \
        --tag "$image" . >"$state/$name.log" 2>&1 \
        || { tail -40 "$state/$name.log" >&2; exit 1; }
    echo "$image: $(size_of "$image"), built in $((SECONDS - begun)) s; log: $state/$name.log"
    [[ $device != cpu ]] || check "$name"
done
