//! A panic, of whatever task, ends the guard.

/// From here on a panic is logged and ends the process: what the guard knows may be half changed then, and nothing is
/// answered from that. Another replica answers, and the kubelet starts this one anew.
pub(super) fn end_the_process() {
    std::panic::set_hook(Box::new(|panic| {
        tracing::error!(%panic, "a bug in the guard ends it: please report this line");
        std::process::abort();
    }));
}

#[cfg(test)]
mod tests {
    use std::os::unix::process::ExitStatusExt as _;
    use std::process::Command;

    /// Set in the process that panics.
    const ALONE: &str = "UPGRADE_GUARD_PANICS";

    #[test]
    fn a_panic_of_a_task_is_logged_and_ends_the_process() {
        let name = "cli::serve::panics::tests::a_panic_of_a_task_is_logged_and_ends_the_process";
        if std::env::var_os(ALONE).is_some() {
            tracing_subscriber::fmt().json().with_writer(std::io::stderr).init();
            super::end_the_process();
            let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).build().unwrap();
            runtime.block_on(async { _ = tokio::spawn(async { panic!("half changed") }).await });
            return;
        }
        let this = std::env::current_exe().unwrap();
        let output = Command::new(this).args(["--exact", name, "--nocapture"]).env(ALONE, "1").output().unwrap();
        let log = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.signal(), Some(6), "{log}");
        let line: serde_json::Value = serde_json::from_str(log.lines().next().unwrap()).unwrap();
        let panic = line["fields"]["panic"].as_str().unwrap();
        assert!(panic.contains("src/cli/serve/panics.rs") && panic.ends_with("half changed"), "{line}");
    }
}
