#!/usr/bin/env bash
# Images of the official images' names, made from Debian packages and PyPI, where no image registry answers: source it.
# Whatever the Dockerfiles name is made, or refused: never something else under that name.
# shellcheck disable=SC2154 # state, log and client are engine.sh's

stand_ins=tests/engine/stand-ins

make_stand_in() { # make_stand_in IMAGE
  local image=$1 tag=${1##*:}
  case $image in
  debian:*-slim) make_debian "${tag%-slim}" ;;
  python:3.13-slim) build_stand_in "$image" python VERSION=3.13 trixie ;;
  nginx:*) build_stand_in "$image" nginx "VERSION=$tag" forky ;;
  certbot/certbot:v*)
    make_stand_in python:3.13-slim
    build_stand_in "$image" certbot "VERSION=${tag#v}"
    ;;
  *) die "there is no recipe for a stand-in of $image: write one in $stand_ins" ;;
  esac
}

make_debian() { # make_debian SUITE
  local image=debian:$1-slim tar=$state/rootfs/$1.tar
  ! has_image "$image" || return 0
  [ -s "$tar" ] || make_root_file_system "$1" "$tar" >>"$log" 2>&1
  "${client[@]}" docker import --change 'CMD ["bash"]' "$tar" "$image" >>"$log" 2>&1
  stage "$image made"
}

build_stand_in() { # build_stand_in IMAGE RECIPE ARGUMENT [SUITE]: built again when its recipe has changed
  local image=$1 folder=$stand_ins/$2 key
  key=$( (echo "$3" && find "$folder" -type f -print0 | sort -z | xargs -0 cat) | sha256sum | cut -c 1-16)
  [ "$(image_label "$image" callgate.recipe)" != "$key" ] || return 0
  [ -z "${4:-}" ] || make_debian "$4"
  "${client[@]}" docker build --quiet --build-arg "$3" --label "callgate.recipe=$key" --tag "$image" "$folder" >>"$log" 2>&1
  stage "$image made"
}

has_image() {
  "${client[@]}" docker image inspect "$1" >/dev/null 2>&1
}

image_label() { # image_label IMAGE LABEL
  "${client[@]}" docker image inspect --format "{{index .Config.Labels \"$2\"}}" "$1" 2>/dev/null || true
}
