//! `bench-tokenize`: see `cli::bench`.

fn main() -> std::process::ExitCode {
    cli::exit::main_with::<cli::bench::TokenizeArgs>(cli::bench::tokenize)
}
