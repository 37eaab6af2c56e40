#!/bin/sh
# Prints how long a newcomer waits for the first answer of a model that they have fine-tuned themselves:
#   stopwatch.sh archive FILE.tar.gz     from the archive of `cargo xtask package`
#   stopwatch.sh clone REPOSITORY        from a clone, libtorch fetched and everything compiled
set -eu
usage() { sed -n '2,4s/^# //p' "$0" >&2; exit 2; }
[ $# = 2 ] || usage
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
start=$(date +%s)
last=$start
lap() {
    now=$(date +%s)
    printf '%6d s  %s\n' $((now - last)) "$1"
    last=$now
}
case $1 in
archive)
    tar -xf "$2" -C "$work"
    cd "$work"/*/
    ft=bin/llama-ft
    lap "unpacked"
    ;;
clone)
    git clone --quiet "$2" "$work/clone"
    cd "$work/clone"
    lap "cloned"
    unset LIBTORCH
    cargo xtask setup >&2
    lap "cargo's tool compiled, libtorch fetched"
    cargo build --release --package cli --bin llama-ft >&2
    ft=target/release/llama-ft
    lap "compiled"
    ;;
*) usage ;;
esac
"$ft" finetune --config datasets/demo.toml --output_dir "$work/adapter" >&2
lap "fine-tuned: 500 steps of the demo"
answer=$("$ft" generate -q --base_model datasets/tiny-llama --lora_weights "$work/adapter" --temperature 0 \
    --instruction "What kind of animal is Abel?")
lap "answered: $answer"
printf '%6d s  in all, on %d cores\n' $((last - start)) "$(nproc)"
