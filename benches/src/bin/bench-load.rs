//! `bench-load`: see `benches::programs::load`.

fn main() -> std::process::ExitCode {
    cli::exit::main_with::<benches::programs::load::LoadArgs>(benches::programs::load::run)
}
