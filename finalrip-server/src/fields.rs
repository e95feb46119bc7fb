//! The fields of a request, whichever way they are written: a query, a form, or JSON.

use std::fmt;

use bytes::Bytes;
use futures_util::stream;
use percent_encoding::percent_decode;
use serde::de::{Error, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};

use crate::failure::Failure;

/// The most fields that a request may have, however they are written; no route knows more than a dozen.
const MOST_FIELDS: usize = 64;

/// Named values. Numbers and booleans may be texts: forms and queries have nothing else.
#[derive(Debug, Default)]
pub(crate) struct Fields(Vec<(String, Value)>);

/// A field's value. Nested JSON is read over and not kept: no route takes any, and it would cost many times its length.
#[derive(Debug, Clone, PartialEq)]
enum Value {
    Null,
    Bool(bool),
    /// A number; `None` if it is no whole one of 64 bits.
    Number(Option<i64>),
    String(String),
    Nested,
}

impl Fields {
    /// The fields of a query, or of an `application/x-www-form-urlencoded` body.
    pub(crate) fn urlencoded(text: &[u8]) -> Result<Self, Failure> {
        let pairs = text.split(|byte| *byte == b'&').filter(|pair| !pair.is_empty());
        if pairs.clone().nth(MOST_FIELDS).is_some() {
            return Err(too_many());
        }
        let fields = pairs.map(|pair| {
            let equals = pair.iter().position(|byte| *byte == b'=');
            let (name, value) = equals.map_or((pair, &b""[..]), |at| (&pair[..at], &pair[at + 1..]));
            let name = decode(name).ok_or_else(|| Failure::bad("a field's name is not UTF-8"))?;
            let value = decode(value).ok_or_else(|| Failure::bad(format!("`{name}` is not UTF-8")))?;
            Ok((name, Value::String(value)))
        });
        fields.collect::<Result<_, _>>().map(Self)
    }

    /// The fields of a body of this type.
    pub(crate) async fn body(content_type: Option<&str>, body: Bytes) -> Result<Self, Failure> {
        let content_type = content_type.unwrap_or_default();
        let essence = content_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
        match essence.as_str() {
            "application/json" => Self::json(&body),
            "application/x-www-form-urlencoded" => Self::urlencoded(&body),
            "multipart/form-data" => Self::multipart(content_type, body).await,
            // A call without fields needs no type either; which field is missing is said by whoever needs one.
            "" if body.is_empty() => Ok(Self::default()),
            _ => Err(Failure::bad(format!(
                "the content type {content_type:?} is not understood; send multipart/form-data, \
                 application/x-www-form-urlencoded or application/json"
            ))),
        }
    }

    fn json(body: &[u8]) -> Result<Self, Failure> {
        let mut reader = serde_json::Deserializer::from_slice(body);
        let fields = reader.deserialize_map(Object).and_then(|fields| reader.end().map(|()| fields));
        fields.map(Self).map_err(|error| Failure::bad(format!("the body is not a JSON object of fields: {error}")))
    }

    async fn multipart(content_type: &str, body: Bytes) -> Result<Self, Failure> {
        let wrong = |error: multer::Error| Failure::bad(format!("the form cannot be read: {error}"));
        let boundary = multer::parse_boundary(content_type).map_err(wrong)?;
        let content = stream::iter([Ok::<_, std::convert::Infallible>(body)]);
        let mut form = multer::Multipart::new(content, boundary);
        let mut fields = Vec::new();
        while let Some(field) = form.next_field().await.map_err(wrong)? {
            let Some(name) = field.name().map(ToOwned::to_owned) else {
                return Err(Failure::bad("a part of the form has no name"));
            };
            if fields.len() == MOST_FIELDS {
                return Err(too_many());
            }
            let value = String::from_utf8(field.bytes().await.map_err(wrong)?.into());
            let value = value.map_err(|_| Failure::bad(format!("`{name}` is not UTF-8")))?;
            fields.push((name, Value::String(value)));
        }
        Ok(Self(fields))
    }

    /// A field's value; twice there is one too many. JSON's `null` is as good as nothing.
    fn get(&self, name: &str) -> Result<Option<&Value>, Failure> {
        let mut values = self.0.iter().filter(|(known, _)| known == name).map(|(_, value)| value);
        let value = values.next();
        match values.next() {
            Some(_) => Err(Failure::bad(format!("`{name}` is there twice"))),
            None => Ok(value.filter(|value| **value != Value::Null)),
        }
    }

    /// A text that has to be there.
    pub(crate) fn required(&self, name: &str) -> Result<&str, Failure> {
        match self.get(name)? {
            None => Err(Failure::bad(format!("`{name}` is missing"))),
            Some(Value::String(text)) if text.is_empty() => Err(Failure::bad(format!("`{name}` is empty"))),
            Some(Value::String(text)) => Ok(text),
            Some(_) => Err(Failure::bad(format!("`{name}` is not a text"))),
        }
    }

    /// A text that may be missing. Forms send an empty one for nothing.
    pub(crate) fn text(&self, name: &str) -> Result<Option<&str>, Failure> {
        match self.get(name)? {
            None => Ok(None),
            Some(Value::String(text)) if text.is_empty() => Ok(None),
            Some(_) => self.required(name).map(Some),
        }
    }

    /// A whole number that may be missing.
    pub(crate) fn number(&self, name: &str) -> Result<Option<i64>, Failure> {
        let number = match self.get(name)? {
            None => return Ok(None),
            Some(Value::String(text)) if text.is_empty() => return Ok(None),
            Some(Value::String(text)) => text.trim().parse().ok(),
            Some(Value::Number(number)) => *number,
            Some(_) => None,
        };
        number.map(Some).ok_or_else(|| Failure::bad(format!("`{name}` is not a whole number")))
    }

    /// A clip's index, which has to be there.
    pub(crate) fn index(&self) -> Result<u32, Failure> {
        let number = self.number("index")?.ok_or_else(|| Failure::bad("`index` is missing"))?;
        u32::try_from(number).map_err(|_| Failure::bad("`index` is not a clip's number, which count from 0"))
    }

    /// A truth value that may be missing.
    pub(crate) fn flag(&self, name: &str) -> Result<Option<bool>, Failure> {
        let flag = match self.get(name)? {
            None => return Ok(None),
            Some(Value::Bool(flag)) => Some(*flag),
            Some(Value::Number(Some(0))) => Some(false),
            Some(Value::Number(Some(1))) => Some(true),
            Some(Value::Number(_)) => None,
            Some(Value::String(text)) => match text.as_str() {
                "" => return Ok(None),
                "1" | "t" | "T" | "true" | "TRUE" | "True" => Some(true),
                "0" | "f" | "F" | "false" | "FALSE" | "False" => Some(false),
                _ => None,
            },
            Some(_) => None,
        };
        flag.map(Some).ok_or_else(|| Failure::bad(format!("`{name}` is neither true nor false")))
    }
}

fn too_many() -> Failure {
    Failure::bad(format!("the request has more than {MOST_FIELDS} fields"))
}

/// Decodes a part of a query: `+` is a space.
fn decode(text: &[u8]) -> Option<String> {
    let spaced: Vec<u8> = text.iter().map(|byte| if *byte == b'+' { b' ' } else { *byte }).collect();
    percent_decode(&spaced).decode_utf8().ok().map(Into::into)
}

/// Reads a JSON object, keeping fields that are there twice.
struct Object;

impl<'de> Visitor<'de> for Object {
    type Value = Vec<(String, Value)>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut fields = Vec::new();
        while let Some(name) = map.next_key()? {
            if fields.len() == MOST_FIELDS {
                return Err(A::Error::custom(format_args!("it has more than {MOST_FIELDS} fields")));
            }
            fields.push((name, map.next_value()?));
        }
        Ok(fields)
    }
}

impl<'de> Deserialize<'de> for Value {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(AnyValue)
    }
}

/// Reads any JSON value, and keeps it if it is a plain one.
struct AnyValue;

impl<'de> Visitor<'de> for AnyValue {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(Value::Number(Some(value)))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(Value::Number(value.try_into().ok()))
    }

    fn visit_f64<E>(self, _: f64) -> Result<Value, E> {
        Ok(Value::Number(None))
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(Value::String(value.to_owned()))
    }

    fn visit_string<E>(self, value: String) -> Result<Value, E> {
        Ok(Value::String(value))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut sequence: A) -> Result<Value, A::Error> {
        while sequence.next_element::<IgnoredAny>()?.is_some() {}
        Ok(Value::Nested)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Value, A::Error> {
        while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        Ok(Value::Nested)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn query(text: &str) -> Fields {
        Fields::urlencoded(text.as_bytes()).unwrap()
    }

    fn message<T: fmt::Debug>(outcome: Result<T, Failure>) -> String {
        outcome.unwrap_err().message
    }

    #[test]
    fn queries_may_be_raw_or_encoded() {
        let fields = query("a=[x]+%2B%26+:$,&b&=c&d=%E4%BD%A0&e=1=2&&f=%f&g=ä");
        assert_eq!(fields.required("a").unwrap(), "[x] +& :$,");
        assert_eq!(fields.text("b").unwrap(), None);
        assert_eq!(fields.required("d").unwrap(), "你");
        assert_eq!(fields.required("e").unwrap(), "1=2");
        assert_eq!(fields.required("f").unwrap(), "%f");
        assert_eq!(fields.required("g").unwrap(), "ä");
        assert_eq!(message(Fields::urlencoded(b"key=%ff")), "`key` is not UTF-8");
    }

    #[test]
    fn numbers_and_flags_may_be_texts() {
        for text in ["1", "t", "T", "true", "TRUE", "True"] {
            assert_eq!(query(&format!("x={text}")).flag("x").unwrap(), Some(true));
        }
        for text in ["0", "f", "F", "false", "FALSE", "False"] {
            assert_eq!(query(&format!("x={text}")).flag("x").unwrap(), Some(false));
        }
        assert_eq!(query("x=").flag("x").unwrap(), None);
        assert_eq!(message(query("x=yes").flag("x")), "`x` is neither true nor false");
        assert_eq!(query("x=-7").number("x").unwrap(), Some(-7));
        for text in ["1.5", "seven", "99999999999999999999"] {
            assert_eq!(message(query(&format!("x={text}")).number("x")), "`x` is not a whole number");
        }
        assert_eq!(query("index=4294967295").index().unwrap(), u32::MAX);
        assert!(message(query("index=4294967296").index()).starts_with("`index` is not a clip's number"));
        assert_eq!(message(query("").index()), "`index` is missing");
        let json = Fields::json(br#"{"i": 3, "s": "3", "f": 2.5, "b": true, "n": null, "o": {}, "one": 1}"#).unwrap();
        assert_eq!((json.number("i").unwrap(), json.number("s").unwrap()), (Some(3), Some(3)));
        assert!(json.number("f").is_err() && json.number("o").is_err() && json.flag("o").is_err());
        assert_eq!(
            (json.flag("b").unwrap(), json.flag("one").unwrap(), json.flag("n").unwrap()),
            (Some(true), Some(true), None)
        );
        assert_eq!(message(json.required("i")), "`i` is not a text");
    }

    #[test]
    fn what_is_missing_empty_or_there_twice_is_named() {
        let fields = query("a=1&a=2&b=");
        assert_eq!(message(fields.required("a")), "`a` is there twice");
        assert_eq!(message(fields.required("b")), "`b` is empty");
        assert_eq!(message(fields.required("c")), "`c` is missing");
        let json = Fields::json(br#"{"a": "x", "a": "y"}"#).unwrap();
        assert_eq!(message(json.text("a")), "`a` is there twice");
    }

    #[tokio::test]
    async fn bodies_that_are_none_are_refused() {
        for (content_type, body) in [
            (Some("application/json"), "[1]"),
            (Some("application/json"), "{\"a\": 1"),
            (Some("application/json"), "{} {}"),
            (Some("multipart/form-data"), "x"),
            (Some("multipart/form-data; boundary=x"), "--x\r\nContent-Disposition: form-data; name=\"a\"\r\n\r\nb"),
            (Some("multipart/form-data; boundary=x"), "--x\r\nContent-Disposition: form-data\r\n\r\nb\r\n--x--\r\n"),
            (Some("text/plain"), "a=b"),
            (None, "a=b"),
        ] {
            let failure = Fields::body(content_type, body.into()).await.unwrap_err();
            assert_eq!(failure.status, 400, "{body}");
        }
        assert!(Fields::body(None, Bytes::new()).await.is_ok());
        let form = "--x\r\nContent-Disposition: form-data; name=\"a\"\r\n\r\nb\r\nc\r\n--x--\r\n";
        let fields = Fields::body(Some("Multipart/Form-Data; boundary=\"x\""), form.into()).await.unwrap();
        assert_eq!(fields.required("a").unwrap(), "b\r\nc");
    }

    #[tokio::test]
    async fn the_number_of_fields_is_bounded_however_they_are_written() {
        let part = "--x\r\nContent-Disposition: form-data; name=\"a\"\r\n\r\nb\r\n";
        let json = |count: usize| {
            let fields: Vec<String> = (0..count).map(|field| format!("\"{field}\": [[1, {{}}], null]")).collect();
            format!("{{{}}}", fields.join(", "))
        };
        for (content_type, most, more) in [
            ("multipart/form-data; boundary=x", part.repeat(64) + "--x--\r\n", part.repeat(65) + "--x--\r\n"),
            ("application/x-www-form-urlencoded", "a&".repeat(64), "a&".repeat(65)),
            ("application/json", json(64), json(65)),
        ] {
            assert!(Fields::body(Some(content_type), most.into()).await.is_ok(), "{content_type}");
            let refusal = message(Fields::body(Some(content_type), more.into()).await);
            assert!(refusal.contains("more than 64 fields"), "{content_type}: {refusal}");
        }
        assert_eq!(message(Fields::json(br#"{"a": [1, {"b": []}]}"#).unwrap().required("a")), "`a` is not a text");
    }
}
