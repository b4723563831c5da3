//! Without its Cargo feature nothing of the fail points is in a build: releases have none.

#[cfg(not(feature = "fail-points"))]
#[test]
fn a_build_without_the_feature_has_no_fail_point() {
    let own = std::fs::read(std::env::current_exe().unwrap()).unwrap();
    let has = |text: &str| own.windows(text.len()).any(|found| found == text.as_bytes());
    assert!(has("ORDER_ENGINE_EXCHANGE_DURABLE"), "the names of variables are found");
    // Put together here, or this test would find itself.
    assert!(!has(&["ORDER_ENGINE", "FAIL_POINT"].join("_")));
    assert!(!has(&["relay", "confirmed"].join(".")));
}
