//! The SQL of pending migrations, as `alembic upgrade A:B --sql` renders it. Many real projects cannot: a migration that asks
//! the database something fails there.

use super::words::words;
use super::{Errand, GateError};

/// The database that rendering is told, which is none: it should ask nothing, and must not ask the live one.
const NOWHERE: &str = "upgrade_guard_nowhere";

/// The SQL, or why there is none, in one line; `None` when nobody wants it, or nothing is pending.
pub(super) async fn render(errand: &Errand<'_>) -> Result<Option<Result<String, String>>, GateError> {
    if !errand.sql || !errand.alembic || errand.plan.steps.is_empty() {
        return Ok(None);
    }
    let (from, to) = match (errand.plan.from.as_slice(), errand.plan.to.as_slice()) {
        ([], [to]) => ("base", to),
        ([from], [to]) => (from.as_str(), to),
        _ => return Ok(Some(Err(unlinted("it is rendered from one revision to one, and here are several")))),
    };
    let range = format!("{from}:{to}");
    let nowhere = errand.live.with_database(NOWHERE).map_err(super::ShadowError::from)?;
    let told = Some((&nowhere, errand.timeouts));
    let said = errand.migrator.run(&["upgrade", &range, "--sql"], told, errand.limit, &mut |_, _| {}).await?;
    Ok(Some(if said.ok() { Ok(said.out) } else { Err(unlinted(&words(&said))) }))
}

fn unlinted(why: &str) -> String {
    format!("the SQL of the migrations cannot be rendered, and was not linted: {why}")
}
