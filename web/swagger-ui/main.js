// Swagger UI for the OpenAPI description of the page's own server.
import SwaggerUI from 'swagger-ui-dist/swagger-ui-es-bundle.js';
import 'swagger-ui-dist/swagger-ui.css';
import './style.css';

// Swagger UI has a dark theme, which a class of the root element selects.
const dark = matchMedia('(prefers-color-scheme: dark)');
const applyTheme = () => document.documentElement.classList.toggle('dark-mode', dark.matches);
dark.addEventListener('change', applyTheme);
applyTheme();

SwaggerUI({
  url: new URL('openapi.json', location.href).href,
  domNode: document.getElementById('api'),
  deepLinking: true,
  displayRequestDuration: true,
  // Each operation shows its own body; a list of all types would repeat them.
  defaultModelsExpandDepth: -1,
  // Do not send the description to the public validator.
  validatorUrl: null,
});
