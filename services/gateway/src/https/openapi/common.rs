//! What all calls have in common, put into each of them.

use utoipa::Modify;
use utoipa::openapi::path::{Operation, Parameter, ParameterBuilder, ParameterIn, PathItem};
use utoipa::openapi::schema::{ObjectBuilder, OneOfBuilder, Type};
use utoipa::openapi::security::{ApiKey, ApiKeyValue, HttpAuthScheme, HttpBuilder, SecurityScheme};
use utoipa::openapi::{
    ContentBuilder, HeaderBuilder, OpenApi, Ref, RefOr, Required, Response, ResponseBuilder,
    SecurityRequirement,
};

use crate::https::request::API_VERSIONS;

const SHARED_ACCESS_SIGNATURE: &str = "SharedAccessSignature";
const BEARER: &str = "Bearer";
const DEVICE_TOKEN: &str = "DeviceToken";

/// Paths that modules have as well, one level further down.
const ALSO_OF_MODULES: &str = "/devices/{id}/messages/";
const OF_MODULES: &str = "/devices/{id}/modules/{moduleId}/messages/";

/// The version that examples name.
const EXAMPLE_VERSION: &str = "2021-04-12";

pub(super) struct Common;

impl Modify for Common {
    fn modify(&self, document: &mut OpenApi) {
        env!("CARGO_PKG_VERSION").clone_into(&mut document.info.version);
        add_modules(document);
        for (path, item) in &mut document.paths.paths {
            let is_of_device = path.starts_with(ALSO_OF_MODULES) || path.starts_with(OF_MODULES);
            for operation in operations(item) {
                complete(operation, is_of_device);
            }
        }
        let components = document.components.get_or_insert_default();
        let mut add = |name: &str, scheme| {
            components
                .security_schemes
                .insert(name.to_owned(), RefOr::T(scheme));
        };
        let header = |text| {
            SecurityScheme::ApiKey(ApiKey::Header(ApiKeyValue::with_description(
                "Authorization",
                text,
            )))
        };
        add(
            SHARED_ACCESS_SIGNATURE,
            header("`SharedAccessSignature sr=…&sig=…&se=…&skn=…`, signed with a key of a policy"),
        );
        add(
            DEVICE_TOKEN,
            header(
                "`SharedAccessSignature sr=…&sig=…&se=…`, signed with a key of the device or module; one with a \
                 certificate sends no header",
            ),
        );
        let bearer = HttpBuilder::new()
            .scheme(HttpAuthScheme::Bearer)
            .description(Some("A token of an OIDC issuer that the hub trusts"));
        add(BEARER, SecurityScheme::Http(bearer.build()));
    }
}

pub(super) fn operations(item: &mut PathItem) -> impl Iterator<Item = &mut Operation> {
    [
        &mut item.get,
        &mut item.put,
        &mut item.post,
        &mut item.patch,
        &mut item.delete,
    ]
    .into_iter()
    .flatten()
}

/// Adds the paths of modules beside those of devices.
fn add_modules(document: &mut OpenApi) {
    let paths = &mut document.paths.paths;
    let own: Vec<(String, PathItem)> = paths
        .iter()
        .filter_map(|(path, item)| {
            let rest = path.strip_prefix(ALSO_OF_MODULES)?;
            Some((format!("{OF_MODULES}{rest}"), item.clone()))
        })
        .collect();
    for (path, mut item) in own {
        for operation in operations(&mut item) {
            if let Some(id) = &mut operation.operation_id {
                id.push_str("OfModule");
            }
            let parameters = operation.parameters.get_or_insert_default();
            parameters.push(RefOr::T(module_id()));
        }
        paths.insert(path, item);
    }
}

fn module_id() -> Parameter {
    ParameterBuilder::new()
        .name("moduleId")
        .parameter_in(ParameterIn::Path)
        .required(Required::True)
        .description(Some("The module."))
        .schema(Some(Ref::from_schema_name("IdentityId")))
        .build()
}

fn complete(operation: &mut Operation, is_of_device: bool) {
    let parameters = operation.parameters.get_or_insert_default();
    parameters.push(RefOr::T(api_version(is_of_device)));
    if operation.security.is_none() {
        let need = |name: &str| SecurityRequirement::new::<_, [&str; 0], &str>(name, []);
        operation.security = Some(if is_of_device {
            vec![need(DEVICE_TOKEN)]
        } else {
            vec![need(SHARED_ACCESS_SIGNATURE), need(BEARER)]
        });
    }
    let responses = &mut operation.responses.responses;
    for (range, text) in [
        (
            "4XX",
            "The request is refused; `iothub-errorcode` names why.",
        ),
        (
            "5XX",
            "The hub or a device failed; some of these pass by themselves.",
        ),
    ] {
        responses
            .entry(range.to_owned())
            .or_insert_with(|| RefOr::T(failure(text)));
    }
}

fn api_version(is_of_device: bool) -> Parameter {
    let schema = ObjectBuilder::new().schema_type(Type::String);
    let schema = if is_of_device {
        schema
            .min_length(Some(1))
            .pattern(Some("^[0-9]{4}-[0-9]{2}-[0-9]{2}(-preview)?$"))
    } else {
        schema.enum_values(Some(API_VERSIONS))
    };
    ParameterBuilder::new()
        .name("api-version")
        .parameter_in(ParameterIn::Query)
        .required(Required::True)
        .description(Some(
            "The version of the contract; all of them are answered alike.",
        ))
        .schema(Some(schema))
        .example(Some(EXAMPLE_VERSION.into()))
        .build()
}

fn failure(text: &str) -> Response {
    let body = OneOfBuilder::new()
        .item(Ref::from_schema_name("ClassicFailure"))
        .item(Ref::from_schema_name("FlatFailure"));
    let name = ObjectBuilder::new().schema_type(Type::String);
    let name = HeaderBuilder::new()
        .schema(Some(name))
        .description(Some("The name of the code in the catalogue of errors"));
    ResponseBuilder::new()
        .description(text)
        .content(
            "application/json",
            ContentBuilder::new().schema(Some(body)).build(),
        )
        .header("iothub-errorcode", name.build())
        .build()
}
