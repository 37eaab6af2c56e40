//! `bench-nf4`: see `benches::programs::nf4`.

fn main() -> std::process::ExitCode {
    cli::exit::main_with::<benches::programs::nf4::Args>(benches::programs::nf4::run)
}
