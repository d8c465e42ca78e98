//! Command line in, exit code out.

use std::process::ExitCode;

fn main() -> ExitCode {
    upgrade_guard::cli::main()
}
