//! `bench-tokenize`: see `benches::programs::tokenize`.

fn main() -> std::process::ExitCode {
    cli::exit::main_with::<benches::programs::tokenize::TokenizeArgs>(benches::programs::tokenize::run)
}
