//! The JSON Schema of the configuration, made from the table that also reads it.
use serde_json::{Map, Value, json};

use super::keys::ROOT;
use super::shape::{Field, Leaf, Need, Shape};

/// JSON Schema (2020-12) of a configuration file, for editors.
pub fn json_schema() -> Value {
    let mut schema = object(ROOT);
    if let Some(root) = schema.as_object_mut() {
        root.insert("$schema".into(), json!("https://json-schema.org/draft/2020-12/schema"));
        root.insert("title".into(), json!("rollguard configuration"));
    }
    schema
}

fn object(table: &'static [Field]) -> Value {
    let mut properties = Map::new();
    for field in table {
        for key in field.keys() {
            let mut property = shape(field.shape);
            if let Some(property) = property.as_object_mut() {
                property.insert("description".into(), json!(describe(field, &key)));
            }
            properties.insert(key, property);
        }
    }
    let mut schema = json!({ "type": "object", "properties": properties, "additionalProperties": false });
    let plain = |field: &&Field| field.need == Need::Here && !matches!(field.shape, Shape::Secret);
    let required: Vec<&str> = table.iter().filter(plain).map(|field| field.name).collect();
    let secrets: Vec<Value> = table
        .iter()
        .filter(|field| field.need == Need::Here && matches!(field.shape, Shape::Secret))
        .map(|field| {
            let keys = field.keys();
            json!({ "oneOf": keys.iter().map(|key| json!({ "required": [key] })).collect::<Vec<_>>() })
        })
        .collect();
    if let Some(schema) = schema.as_object_mut() {
        if !required.is_empty() {
            schema.insert("required".into(), json!(required));
        } else {
            // `scrape:` with nothing after it means its defaults.
            schema.insert("type".into(), json!(["object", "null"]));
        }
        if !secrets.is_empty() {
            schema.insert("allOf".into(), json!(secrets));
        }
    }
    schema
}

fn describe(field: &Field, key: &str) -> String {
    let doc = field.doc;
    if key.len() == field.name.len() {
        doc.to_string()
    } else if key.ends_with("_file") {
        format!("{doc} Read from this file.")
    } else {
        format!("{doc} Read from this environment variable.")
    }
}

fn shape(shape: Shape) -> Value {
    match shape {
        Shape::Leaf(leaf) => scalar(leaf),
        Shape::Secret => json!({ "type": "string", "minLength": 1 }),
        Shape::Labels | Shape::Dimensions | Shape::Headers | Shape::Form | Shape::Secrets => {
            json!({ "type": "object", "additionalProperties": { "type": "string" } })
        }
        Shape::Texts => json!({ "type": "array", "items": { "type": "string" } }),
        Shape::Some(leaf) => {
            let one = scalar(leaf);
            json!({ "anyOf": [one, { "type": "array", "minItems": 1, "items": one }] })
        }
        Shape::SomeMaps(table) => {
            // The keywords of objects do not apply to lists, nor those of lists to objects.
            let mut either = object(table);
            if let Some(either) = either.as_object_mut() {
                either.insert("type".into(), json!(["object", "array"]));
                either.insert("items".into(), object(table));
            }
            either
        }
        Shape::Named(table) => json!({ "type": "object", "additionalProperties": object(table) }),
        Shape::Map(table) => object(table),
        Shape::Maps(table) => json!({ "type": "array", "items": object(table) }),
        Shape::WordOrMap(leaf, table) => {
            // The keywords of objects do not apply to texts, nor those of texts to objects.
            let mut either = object(table);
            if let (Some(either), Leaf::Choice(words)) = (either.as_object_mut(), leaf) {
                either.insert("type".into(), json!(["object", "string"]));
                either.insert("pattern".into(), json!(format!("^({})$", words.join("|"))));
            }
            either
        }
        Shape::Any => json!({}),
    }
}

fn scalar(leaf: Leaf) -> Value {
    match leaf {
        Leaf::Text | Leaf::Selector | Leaf::Address | Leaf::Path | Leaf::Pattern => {
            json!({ "type": "string", "minLength": 1 })
        }
        Leaf::Name => json!({ "type": "string", "pattern": "^[a-z0-9][a-z0-9._-]{0,62}$" }),
        Leaf::KubernetesName => {
            json!({ "type": "string", "pattern": "^[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?$" })
        }
        Leaf::Duration { .. } => json!({ "type": "string", "examples": ["30m", "10s"] }),
        Leaf::Share { .. } => json!({ "type": ["string", "number"], "examples": ["5%", 0.05] }),
        Leaf::Number => json!({ "type": ["string", "number"], "examples": [0.5, "900Mi"] }),
        Leaf::Count { least, most } => json!({ "type": "integer", "minimum": least, "maximum": most }),
        Leaf::Version => json!({ "type": ["string", "number"], "examples": ["v1.4.2"] }),
        Leaf::Url => json!({ "type": "string", "pattern": "^https?://" }),
        Leaf::Bool => json!({ "type": "boolean" }),
        Leaf::Status => {
            json!({ "type": ["integer", "string"], "minimum": 100, "maximum": 599, "pattern": "^[1-5](xx|[0-9][0-9])$" })
        }
        Leaf::Choice(choices) => json!({ "enum": choices }),
        Leaf::Pointer => json!({ "type": "string", "pattern": "^(/.*)?$" }),
    }
}
