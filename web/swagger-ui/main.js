// Swagger UI for the OpenAPI description of the page's own server.
import SwaggerUI from 'swagger-ui-dist/swagger-ui-es-bundle.js';
import 'swagger-ui-dist/swagger-ui.css';
import './style.css';

SwaggerUI({
  url: new URL('openapi.json', location.href).href,
  domNode: document.getElementById('api'),
  deepLinking: true,
  displayRequestDuration: true,
  // Do not send the description to the public validator.
  validatorUrl: null,
});
