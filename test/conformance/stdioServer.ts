/** The reference server as a program on stdio. */
import { serveReferenceOverStdio } from './server.ts';

serveReferenceOverStdio();
