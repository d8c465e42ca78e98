//! The commands of README and docs, as the tests run them.

/// A fenced block of shell commands and where it is run: `ci`, `offline`, `cluster`, ...
pub(crate) struct Block {
    pub(crate) run: String,
    pub(crate) commands: String,
}

/// The pages whose commands are run, the one that starts a guard first: what comes later may count on what it left behind.
const PAGES: [&str; 12] = [
    include_str!("../../docs/local.md"),
    include_str!("../../README.md"),
    include_str!("../../docs/hold.md"),
    include_str!("../../docs/getting-started.md"),
    include_str!("../../docs/argocd.md"),
    include_str!("../../docs/flux.md"),
    include_str!("../../docs/helm.md"),
    include_str!("../../docs/migrations.md"),
    include_str!("../../docs/rules.md"),
    include_str!("../../docs/troubleshooting.md"),
    include_str!("../../docs/architecture.md"),
    include_str!("../../docs/uninstall.md"),
];

/// The shell blocks of all pages, in order. A block is preceded by a comment that says where it is run.
pub(crate) fn blocks() -> Vec<Block> {
    PAGES.into_iter().flat_map(blocks_of).collect()
}

fn blocks_of(page: &str) -> Vec<Block> {
    let mut lines = page.lines();
    let mut blocks = Vec::new();
    let mut run = None;
    while let Some(line) = lines.next() {
        let marked = line.strip_prefix("<!-- run: ").and_then(|rest| rest.strip_suffix(" -->"));
        if line == "```sh" {
            let commands: Vec<&str> = lines.by_ref().take_while(|line| *line != "```").collect();
            blocks.push(Block { run: run.take().unwrap_or_default(), commands: commands.join("\n") });
        } else if !line.is_empty() {
            run = marked.map(str::to_owned);
        }
    }
    blocks
}
