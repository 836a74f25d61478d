//! The contract is its own reference: every item of `wit/` says what it means.
//!
//! Reads the packages as any WIT tool does and names every item without a comment at once. A `use` of another interface's type
//! needs none: the type has it.

use std::path::Path;

use wit_parser::{Docs, Resolve, Type, TypeDef, TypeDefKind, WorldItem};

/// Items without docs, by path.
#[derive(Default)]
struct Undocumented(Vec<String>);

impl Undocumented {
    fn check(&mut self, path: &str, docs: &Docs) {
        if docs.contents.as_ref().is_none_or(|contents| contents.trim().is_empty()) {
            self.0.push(path.to_owned());
        }
    }

    fn check_type(&mut self, path: &str, definition: &TypeDef) {
        // What `use` brings in is a type that stands for another.
        if matches!(definition.kind, TypeDefKind::Type(Type::Id(_))) {
            return;
        }
        self.check(path, &definition.docs);
        match &definition.kind {
            TypeDefKind::Record(record) => {
                record.fields.iter().for_each(|field| self.check(&format!("{path}.{}", field.name), &field.docs));
            }
            TypeDefKind::Variant(variant) => {
                variant.cases.iter().for_each(|case| self.check(&format!("{path}.{}", case.name), &case.docs));
            }
            TypeDefKind::Enum(cases) => {
                cases.cases.iter().for_each(|case| self.check(&format!("{path}.{}", case.name), &case.docs));
            }
            TypeDefKind::Flags(flags) => {
                flags.flags.iter().for_each(|flag| self.check(&format!("{path}.{}", flag.name), &flag.docs));
            }
            _ => {}
        }
    }
}

fn undocumented(resolve: &Resolve) -> Vec<String> {
    let mut found = Undocumented::default();
    for (_, package) in &resolve.packages {
        found.check(&package.name.to_string(), &package.docs);
    }
    for (_, interface) in &resolve.interfaces {
        let name = interface.name.as_deref().unwrap_or("an interface inside a world");
        found.check(name, &interface.docs);
        for (type_name, id) in &interface.types {
            found.check_type(&format!("{name}.{type_name}"), &resolve.types[*id]);
        }
        for function in interface.functions.values() {
            found.check(&format!("{name}.{}", function.name), &function.docs);
        }
    }
    for (_, world) in &resolve.worlds {
        found.check(&world.name, &world.docs);
        for item in world.imports.values().chain(world.exports.values()) {
            if let WorldItem::Function(function) = item {
                found.check(&format!("{}.{}", world.name, function.name), &function.docs);
            }
        }
    }
    found.0
}

#[test]
fn every_item_of_the_contract_is_documented() {
    let mut resolve = Resolve::default();
    resolve.push_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("../wit")).expect("the contract is valid");
    assert_eq!(undocumented(&resolve), Vec::<String>::new(), "these items of wit/ have no `///` comment");
}

#[test]
fn what_has_no_comment_is_found_at_every_level() {
    let mut resolve = Resolve::default();
    let source = "
        package a:b;
        interface bare {
          record row { field: u32 }
          variant choice { this(u32) }
          enum colour { red }
          flags bits { one }
          /// It has one.
          documented: func();
          call: func();
        }
        interface user { use bare.{row}; }
        world outside { export bare; }
    ";
    resolve.push_str("bare.wit", source).expect("valid");
    let mut found = undocumented(&resolve);
    found.sort();
    let mut expected = [
        "a:b",
        "bare",
        "bare.row",
        "bare.row.field",
        "bare.choice",
        "bare.choice.this",
        "bare.colour",
        "bare.colour.red",
        "bare.bits",
        "bare.bits.one",
        "bare.call",
        "user",
        "outside",
    ];
    expected.sort_unstable();
    assert_eq!(found, expected);
}
