//! `bench-kernels`: see `benches::programs::kernels`.

fn main() -> std::process::ExitCode {
    cli::exit::main_with::<benches::programs::kernels::KernelsArgs>(benches::programs::kernels::run)
}
