//! What the law allows to stand side by side (design section 3), for the platform of these tests: the gateway is after
//! the API, console and portal are after both, and each may be one line behind what it is after and never ahead.

use std::collections::{BTreeMap, BTreeSet};

use crate::platform::{API, GATEWAY, PORTAL, UI};

/// The versions that count for each component: asked for, or with pods.
pub(crate) type Live = BTreeMap<&'static str, BTreeSet<String>>;

/// Downstream, upstream, and whether the distance back is limited: the guide has no window between the console or the
/// portal and the gateway, only an order.
const PAIRS: [(&str, &str, bool); 5] =
    [(GATEWAY, API, true), (UI, API, true), (PORTAL, API, true), (UI, GATEWAY, false), (PORTAL, GATEWAY, false)];

/// Every pair of versions in `live` that may not stand side by side.
pub(crate) fn breaches(live: &Live) -> Vec<String> {
    let none = BTreeSet::new();
    let of = |component: &str| live.get(component).unwrap_or(&none);
    let mut found = Vec::new();
    for (down, up, limited) in PAIRS {
        for (own, peer) in of(down).iter().flat_map(|own| of(up).iter().map(move |peer| (own, peer))) {
            let behind = minor(peer) - minor(own);
            if behind < 0 || (limited && behind > 1) {
                found.push(format!("{down} {own} beside {up} {peer}"));
            }
        }
    }
    found
}

fn minor(version: &str) -> i64 {
    version.split('.').nth(1).and_then(|minor| minor.parse().ok()).unwrap()
}

#[test]
fn the_oracle_knows_what_breaks() {
    let live = |api: &[&str], gateway: &[&str], ui: &[&str]| {
        let set = |versions: &[&str]| versions.iter().map(|version| (*version).to_owned()).collect();
        breaches(&BTreeMap::from([(API, set(api)), (GATEWAY, set(gateway)), (UI, set(ui))])).len()
    };
    assert_eq!(live(&["2.3.0"], &["2.2.0"], &["2.2.0"]), 0);
    assert_eq!(live(&["2.3.0", "2.2.0"], &["2.2.0"], &["2.2.1"]), 0);
    assert_eq!(live(&["2.3.0", "2.2.0"], &["2.2.0", "2.3.0"], &[]), 1);
    assert_eq!(live(&["2.4.0"], &["2.3.0"], &["2.2.0"]), 1);
    assert_eq!(live(&["2.3.0"], &["2.2.0"], &["2.3.0"]), 1);
}
