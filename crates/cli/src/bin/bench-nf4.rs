//! `bench-nf4`: see `cli::bench_nf4`.

fn main() -> std::process::ExitCode {
    cli::exit::main_with::<cli::bench_nf4::Args>(cli::bench_nf4::run)
}
