use serde_yaml::Value;

use super::fault::Problem;
use super::source::MAX_FILE_BYTES;

/// One value of the file.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Node {
    /// `null`, or nothing: as if the key were not there.
    Null,
    /// A string.
    Text(String),
    /// A number or a boolean, whose spelling in the file is lost.
    Plain(String),
    /// A list, as JSON text.
    List(String),
    /// A mapping, a tagged value, or a list that holds anything but strings.
    Other,
}

/// Reads the operator's settings file: one mapping of keys to scalars or lists. The only place where YAML is read, and
/// never for text from the network, as the parser is no longer maintained.
pub(super) fn read(text: &str) -> Result<Vec<(String, Node)>, Problem> {
    const SHAPE: &str = "write one mapping of setting names in lower case to values, such as `port: 8004`";
    if text.len() as u64 > MAX_FILE_BYTES {
        return Err(Problem::new(format!("is over {MAX_FILE_BYTES} bytes"), SHAPE));
    }
    let mapping = match serde_yaml::from_str(text) {
        Ok(Value::Mapping(mapping)) => mapping,
        Ok(Value::Null) => return Ok(Vec::new()),
        Ok(_) => return Err(Problem::new("is no mapping", SHAPE)),
        Err(error) => return Err(Problem::new(format!("is no valid YAML: {error}"), SHAPE)),
    };
    let list = |items: Vec<Value>| {
        let texts: Option<Vec<_>> = items.iter().map(Value::as_str).collect();
        texts.map_or(Node::Other, |texts| Node::List(serde_json::json!(texts).to_string()))
    };
    let entry = |(key, value): (Value, Value)| {
        let Value::String(key) = key else {
            return Err(Problem::new("has a key that is no text", SHAPE));
        };
        let node = match value {
            Value::Null => Node::Null,
            Value::Bool(value) => Node::Plain(value.to_string()),
            Value::Number(value) => Node::Plain(value.to_string()),
            Value::String(value) => Node::Text(value),
            Value::Sequence(items) => list(items),
            Value::Mapping(_) | Value::Tagged(_) => Node::Other,
        };
        Ok((key, node))
    };
    mapping.into_iter().map(entry).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_scalars_lists_and_nothing() {
        let text = "port: 8004\necho: false\nhost: '::'\nredis_url:\nallowed_origins: [a, b]\nx: {y: 1}\n";
        let expected = [
            ("port", Node::Plain("8004".to_owned())),
            ("echo", Node::Plain("false".to_owned())),
            ("host", Node::Text("::".to_owned())),
            ("redis_url", Node::Null),
            ("allowed_origins", Node::List(r#"["a","b"]"#.to_owned())),
            ("x", Node::Other),
        ];
        let expected: Vec<_> = expected.into_iter().map(|(key, node)| (key.to_owned(), node)).collect();
        assert_eq!(read(text), Ok(expected));
        assert_eq!(read("# nothing yet\n"), Ok(Vec::new()));
    }

    #[test]
    fn refuses_other_shapes_and_sizes() {
        for text in ["- port\n", "8004", "port: [", "1: 2", "port: 1\nport: 2\n", "port: *nowhere"] {
            assert!(read(text).is_err(), "{text}");
        }
        let long = format!("# {}\n", "x".repeat(1 << 20));
        assert!(read(&long).is_err());
    }

    #[test]
    fn nested_aliases_do_not_blow_up() {
        let mut text = "a0: &a0 [x]\n".to_owned();
        for level in 1..40 {
            let below = level - 1;
            text.push_str(&format!("a{level}: &a{level} [*a{below}, *a{below}, *a{below}, *a{below}]\n"));
        }
        assert!(read(&text).is_err());
    }
}
