//! `bench-decode`: see `cli::bench_decode`.

fn main() -> std::process::ExitCode {
    cli::exit::main_with::<cli::bench_decode::DecodeArgs>(cli::bench_decode::run)
}
