//! What the attributes of the operations cannot say, or would have to say twenty times.

use crate::problem::Problem;
use utoipa::{
    Modify,
    openapi::{
        Content, OpenApi, PathItem, Ref, RefOr, Response, Schema,
        link::Link,
        path::Operation,
        schema::AdditionalProperties,
        security::{HttpAuthScheme, HttpBuilder, SecurityScheme},
    },
};

/// How a caller proves who it is.
pub(super) struct Token;

impl Modify for Token {
    fn modify(&self, document: &mut OpenApi) {
        let scheme = HttpBuilder::new()
            .scheme(HttpAuthScheme::Bearer)
            .bearer_format("JWT")
            .description(Some("The ID token of the environment's user pool; GET /v1/health says where to get one."))
            .build();
        document.components.get_or_insert_default().add_security_scheme("token", SecurityScheme::Http(scheme));
    }
}

/// The variants of a target refuse unknown fields like every other body; the derive says so of structs only.
pub(super) struct Closed;

impl Modify for Closed {
    fn modify(&self, document: &mut OpenApi) {
        let schemas = &mut document.components.get_or_insert_default().schemas;
        if let Some(RefOr::T(Schema::OneOf(target))) = schemas.get_mut("Target") {
            for variant in &mut target.items {
                if let RefOr::T(Schema::Object(object)) = variant {
                    object.additional_properties = Some(Box::new(AdditionalProperties::FreeForm(false)));
                }
            }
        }
        if let Some(RefOr::T(Schema::Object(request))) = schemas.get_mut("ScanRequest")
            && let Some(RefOr::T(Schema::Array(engines))) = request.properties.get_mut("engines")
        {
            engines.unique_items = true;
        }
    }
}

/// Every operation that needs a token answers 401 and 403.
pub(super) struct Refusals;

impl Modify for Refusals {
    fn modify(&self, document: &mut OpenApi) {
        for operation in document.paths.paths.values_mut().flat_map(operations) {
            if operation.security.as_ref().is_none_or(Vec::is_empty) {
                continue;
            }
            let mut refuse = |status: &str, description: &str, content_type: &str, schema: &str| {
                let mut response = Response::new(description);
                let content = Content::new(Some(RefOr::<Schema>::Ref(Ref::from_schema_name(schema))));
                response.content.insert(content_type.to_owned(), RefOr::T(content));
                operation.responses.responses.insert(status.to_owned(), RefOr::T(response));
            };
            refuse(
                "401",
                "No token, or one that is not valid; the gateway says so",
                "application/json",
                "GatewayRefusal",
            );
            refuse("403", "The token names no organisation", Problem::CONTENT_TYPE, "Problem");
        }
    }
}

/// Which answer holds what another operation asks for.
pub(super) struct Links;

/// Operation, status, where its answer has the value, operation that takes it as a parameter, the parameter.
const LINKS: [(&str, &str, &str, &str, &str); 8] = [
    ("createScan", "202", "$response.body#/id", "getScan", "id"),
    ("createScan", "202", "$response.body#/id", "listFindings", "id"),
    ("createScan", "202", "$response.body#/id", "getReport", "id"),
    ("createScan", "202", "$response.body#/id", "cancelScan", "id"),
    ("createPriceBatch", "202", "$response.body#/id", "getPriceBatch", "id"),
    ("createPriceBatch", "202", "$response.body#/id", "completePriceBatch", "id"),
    ("createPriceBatch", "202", "$response.body#/id", "withdrawPriceBatch", "id"),
    ("putCredential", "204", "$request.path.name", "deleteCredential", "name"),
];

impl Modify for Links {
    fn modify(&self, document: &mut OpenApi) {
        for operation in document.paths.paths.values_mut().flat_map(operations) {
            let of_operation = LINKS.iter().filter(|(from, ..)| operation.operation_id.as_deref() == Some(from));
            for (_, status, value, to, parameter) in of_operation {
                if let Some(RefOr::T(response)) = operation.responses.responses.get_mut(*status) {
                    let link = Link::builder().operation_id(*to).parameter(*parameter, *value).build();
                    response.links.insert((*to).to_owned(), RefOr::T(link));
                }
            }
        }
    }
}

fn operations(item: &mut PathItem) -> impl Iterator<Item = &mut Operation> {
    [&mut item.get, &mut item.put, &mut item.post, &mut item.delete].into_iter().flatten()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::openapi::document_json;
    use serde_json::Value;

    #[test]
    fn every_link_leads_from_an_answer_to_a_parameter() {
        let document: Value = serde_json::from_str(&document_json()).unwrap();
        let all =
            || document["paths"].as_object().unwrap().values().flat_map(|item| item.as_object().unwrap().values());
        let by_id = |id: &str| all().find(|o| o["operationId"] == id).unwrap_or_else(|| panic!("no operation {id}"));
        for (from, status, value, to, parameter) in LINKS {
            let link = &by_id(from)["responses"][status]["links"][to];
            assert_eq!(link["parameters"][parameter], value, "{from} to {to}");
            let parameters = by_id(to)["parameters"].as_array().unwrap();
            assert!(parameters.iter().any(|p| p["name"] == parameter), "{to} has no parameter {parameter}");
        }
        assert_eq!(all().filter(|o| o["responses"]["401"].is_object()).count(), 19, "operations that need a token");
    }

    #[test]
    fn bodies_of_requests_take_no_unknown_fields() {
        let document: Value = serde_json::from_str(&document_json()).unwrap();
        let schemas = &document["components"]["schemas"];
        for name in
            ["ScanRequest", "UploadRequest", "CredentialPut", "WebhookPut", "PriceBatchRequest", "PriceBatchComplete"]
        {
            assert_eq!(schemas[name]["additionalProperties"], false, "{name}");
        }
        for variant in schemas["Target"]["oneOf"].as_array().unwrap() {
            assert_eq!(variant["additionalProperties"], false, "{variant}");
        }
        assert_eq!(schemas["ScanRequest"]["properties"]["engines"]["uniqueItems"], true);
    }
}
