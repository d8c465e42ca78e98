use super::Check;
use crate::api::MIGRATION_CHECKS;

#[test]
fn the_table_has_every_name_that_a_policy_may_use() {
    let names: Vec<&str> = Check::ALL.iter().map(|check| check.name()).collect();
    assert_eq!(names, MIGRATION_CHECKS);
    for check in Check::ALL {
        assert_eq!(Check::named(check.name()), Some(*check));
    }
}
