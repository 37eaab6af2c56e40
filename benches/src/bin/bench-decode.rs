//! `bench-decode`: see `benches::programs::decode`.

fn main() -> std::process::ExitCode {
    cli::exit::main_with::<benches::programs::decode::DecodeArgs>(benches::programs::decode::run)
}
