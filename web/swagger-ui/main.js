// The description of the door that the page came from, to be read and tried.
import SwaggerUI from 'swagger-ui-dist/swagger-ui-es-bundle.js';
import 'swagger-ui-dist/swagger-ui.css';
import './style.css';

SwaggerUI({
  url: new URL('openapi.json', location.href).href,
  domNode: document.getElementById('api'),
  deepLinking: true,
  displayRequestDuration: true,
  // Nobody outside is asked whether the description is valid.
  validatorUrl: null,
});
