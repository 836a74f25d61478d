//! What the compiler says when the SDK is used wrongly: the messages are part of the SDK.
//!
//! Each file in `ui/` must fail to compile with exactly the text in the `.stderr` file beside it. After a change that is
//! meant, `TRYBUILD=overwrite cargo test -p millpond --test compile_fail` writes them anew; read what changed.

#[test]
fn misuse_is_explained() {
    trybuild::TestCases::new().compile_fail("tests/ui/*.rs");
}
