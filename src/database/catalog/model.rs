//! What a catalog is made of: objects with facts.

use std::collections::{BTreeMap, HashMap};
use std::fmt;

use ring::digest::{SHA256, digest};

macro_rules! kinds {
    ($($kind:ident $word:literal;)+) => {
        /// What an object of a schema is.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Kind {
            $(#[doc = concat!("A ", $word, ".")] $kind,)+
        }

        impl Kind {
            /// Its word, as texts and the questions to the database write it.
            #[must_use]
            pub const fn word(self) -> &'static str {
                match self { $(Self::$kind => $word),+ }
            }

            /// The kind with this word.
            #[must_use]
            pub fn named(word: &str) -> Option<Self> {
                match word { $($word => Some(Self::$kind),)+ _ => None }
            }
        }
    };
}

kinds! {
    Schema "schema";
    Extension "extension";
    Table "table";
    View "view";
    MaterializedView "materialized view";
    Sequence "sequence";
    Composite "composite type";
    Column "column";
    Constraint "constraint";
    Index "index";
    Trigger "trigger";
    Rule "rule";
    Policy "policy";
    Enum "enum";
    Domain "domain";
    Type "type";
    Function "function";
    Right "right";
    DefaultRight "default right";
    Role "role";
    Member "member";
    Setting "setting";
    EventTrigger "event trigger";
    Other "other object";
}

/// An object of a schema.
#[derive(Clone, Debug)]
pub struct Object {
    /// What it is.
    pub kind: Kind,
    /// What it is within this database, whatever it is called: made of the OIDs of the system catalogs.
    pub key: String,
    /// The key of what it belongs to: a column's table, a table's schema.
    pub parent: Option<String>,
    /// Its own name, quoted where SQL asks for it.
    pub name: String,
    /// Its name with those of what it belongs to.
    pub full: String,
    /// What is said of it, and is the same in every database with the same schema.
    pub facts: BTreeMap<String, String>,
    /// What is said of it within this database alone: keys of other objects, and what only helps to judge.
    pub links: BTreeMap<String, String>,
}

impl Object {
    /// What is said of it under `name`; `""` when nothing is.
    #[must_use]
    pub fn fact(&self, name: &str) -> &str {
        self.facts.get(name).map_or("", String::as_str)
    }

    /// What is said of it within this database under `name`; `""` when nothing is.
    #[must_use]
    pub fn link(&self, name: &str) -> &str {
        self.links.get(name).map_or("", String::as_str)
    }
}

impl PartialEq for Object {
    fn eq(&self, other: &Self) -> bool {
        self.kind == other.kind && self.full == other.full && self.facts == other.facts
    }
}

impl Eq for Object {}

impl fmt::Display for Object {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.kind {
            // Their names begin with what they are.
            Kind::Other => f.write_str(&self.full),
            _ => write!(f, "{} {}", self.kind.word(), self.full),
        }
    }
}

/// What a database's schema holds. Two with the same schema are equal, in whichever databases they are.
#[derive(Clone, Debug)]
pub struct Catalog {
    /// Which database this is: keys mean the same within one.
    pub(super) database: String,
    /// The objects by kind and full name.
    pub(super) objects: BTreeMap<(Kind, String), Object>,
    /// Their places by key.
    keys: HashMap<String, (Kind, String)>,
}

impl PartialEq for Catalog {
    fn eq(&self, other: &Self) -> bool {
        self.objects == other.objects
    }
}

impl Eq for Catalog {}

impl Catalog {
    /// The catalog of `database` with these objects, whose full names are made here of those that they belong to.
    #[must_use]
    pub(super) fn new(database: String, objects: Vec<Object>) -> Self {
        let own: HashMap<String, (Option<String>, String)> =
            objects.iter().map(|object| (object.key.clone(), (object.parent.clone(), object.name.clone()))).collect();
        let full = |object: &Object| {
            let mut names = vec![object.name.as_str()];
            let mut parent = object.parent.as_ref();
            while let Some((next, name)) = parent.and_then(|key| own.get(key)) {
                names.push(name);
                parent = next.as_ref();
            }
            names.reverse();
            names.join(".")
        };
        let named = objects.into_iter().map(|object| {
            let full = full(&object);
            ((object.kind, full.clone()), Object { full, ..object })
        });
        let objects: BTreeMap<_, _> = named.collect();
        let keys = objects.iter().map(|(place, object)| (object.key.clone(), place.clone())).collect();
        Self { database, objects, keys }
    }

    /// All objects, by kind and name.
    pub fn objects(&self) -> impl Iterator<Item = &Object> {
        self.objects.values()
    }

    /// The object with this key.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<&Object> {
        self.objects.get(self.keys.get(key)?)
    }

    /// The object of this kind and full name.
    #[must_use]
    pub fn find(&self, kind: Kind, full: &str) -> Option<&Object> {
        self.objects.get(&(kind, full.to_owned()))
    }

    /// What `object` belongs to.
    #[must_use]
    pub fn parent(&self, object: &Object) -> Option<&Object> {
        self.get(object.parent.as_deref()?)
    }

    /// A digest of all that two databases with the same schema have in common: 64 hex digits of SHA-256.
    #[must_use]
    pub fn digest(&self) -> String {
        let mut said = String::new();
        for object in self.objects.values() {
            for part in [object.kind.word(), &object.full] {
                said.push_str(part);
                said.push('\0');
            }
            for (name, value) in &object.facts {
                said.push_str(name);
                said.push('\u{1}');
                said.push_str(value);
                said.push('\u{2}');
            }
            said.push('\n');
        }
        digest(&SHA256, said.as_bytes()).as_ref().iter().fold(String::new(), |text, byte| text + &format!("{byte:02x}"))
    }
}
