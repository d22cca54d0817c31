//! What all calls have in common, put into each of them.

use utoipa::Modify;
use utoipa::openapi::path::{Operation, Parameter, ParameterBuilder, ParameterIn, PathItem};
use utoipa::openapi::schema::{ObjectBuilder, OneOf, OneOfBuilder, Schema, Type};
use utoipa::openapi::security::{ApiKey, ApiKeyValue, HttpAuthScheme, HttpBuilder, SecurityScheme};
use utoipa::openapi::{
    ContentBuilder, HeaderBuilder, OpenApi, Ref, RefOr, Required, Response, ResponseBuilder,
    SecurityRequirement,
};

use crate::https::request::API_VERSIONS;

const SHARED_ACCESS_SIGNATURE: &str = "SharedAccessSignature";
const BEARER: &str = "Bearer";
const DEVICE_TOKEN: &str = "DeviceToken";

/// What devices themselves ask for.
const OF_DEVICES: &str = "/devices/{id}/messages/";
const OF_MODULES: &str = "/devices/{id}/modules/{moduleId}/messages/";
/// Paths of a twin, which modules have as well.
const TWIN: &str = "/twins/{id}";
const TWIN_OF_MODULE: &str = "/twins/{id}/modules/{moduleId}";
/// Commands of digital twins, which components have as well.
const COMMANDS: &str = "/digitaltwins/{id}/commands";
const COMMANDS_OF_COMPONENT: &str = "/digitaltwins/{id}/components/{component}/commands";

/// The version that examples name.
const EXAMPLE_VERSION: &str = "2021-04-12";

pub(super) struct Common;

impl Modify for Common {
    fn modify(&self, document: &mut OpenApi) {
        env!("CARGO_PKG_VERSION").clone_into(&mut document.info.version);
        add_further(document);
        for (path, item) in &mut document.paths.paths {
            let is_of_device = path.starts_with(OF_DEVICES) || path.starts_with(OF_MODULES);
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

/// A further path of an operation, with what stands in it besides, and the end of its name there.
struct Further {
    path: String,
    parameter: Parameter,
    ending: &'static str,
}

/// The path beside `path` that has the same operations, of a module or of a component.
fn further(path: &str) -> Option<Further> {
    let of_module = |path: String| Further {
        path,
        parameter: identity("moduleId", "The module."),
        ending: "OfModule",
    };
    if let Some(rest) = path.strip_prefix(OF_DEVICES) {
        return Some(of_module(format!("{OF_MODULES}{rest}")));
    }
    if path.starts_with(TWIN_OF_MODULE) {
        return None;
    }
    if let Some(rest) = path.strip_prefix(TWIN) {
        return Some(of_module(format!("{TWIN_OF_MODULE}{rest}")));
    }
    let rest = path.strip_prefix(COMMANDS)?;
    Some(Further {
        path: format!("{COMMANDS_OF_COMPONENT}{rest}"),
        parameter: identity("component", "The component."),
        ending: "OfComponent",
    })
}

/// Adds the paths of modules beside those of devices, and those of components beside those of digital twins.
fn add_further(document: &mut OpenApi) {
    let paths = &mut document.paths.paths;
    let own: Vec<(Further, PathItem)> = paths
        .iter()
        .filter_map(|(path, item)| Some((further(path)?, item.clone())))
        .collect();
    for (further, mut item) in own {
        for operation in operations(&mut item) {
            if let Some(id) = &mut operation.operation_id {
                id.push_str(further.ending);
            }
            let parameters = operation.parameters.get_or_insert_default();
            parameters.push(RefOr::T(further.parameter.clone()));
        }
        paths.insert(further.path, item);
    }
}

fn identity(name: &str, text: &str) -> Parameter {
    ParameterBuilder::new()
        .name(name)
        .parameter_in(ParameterIn::Path)
        .required(Required::True)
        .description(Some(text))
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
    for (status, response) in responses.iter_mut() {
        if let RefOr::T(response) = response
            && status.starts_with(['4', '5'])
        {
            allow_failures(response);
        }
    }
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

/// A status that a call has for answers of its own may stand for any other failure too.
fn allow_failures(response: &mut Response) {
    for content in response.content.values_mut() {
        if let RefOr::T(content) = content {
            let own = content.schema.take();
            let mut any = failures();
            any.items.extend(own);
            content.schema = Some(Schema::OneOf(any).into());
        }
    }
}

fn failures() -> OneOf {
    OneOfBuilder::new()
        .item(Ref::from_schema_name("ClassicFailure"))
        .item(Ref::from_schema_name("FlatFailure"))
        .build()
}

fn failure(text: &str) -> Response {
    let body = failures();
    let name = ObjectBuilder::new().schema_type(Type::String);
    let name = HeaderBuilder::new()
        .schema(Some(name))
        .description(Some("The name of the code in the catalogue of errors"));
    ResponseBuilder::new()
        .description(text)
        .content(
            "application/json",
            ContentBuilder::new()
                .schema(Some(Schema::OneOf(body)))
                .build(),
        )
        .header("iothub-errorcode", name.build())
        .build()
}
