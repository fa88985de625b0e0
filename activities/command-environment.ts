import { z } from 'zod';

/** Environment variables that a pipeline gives to a command. What Adit itself sets cannot be replaced. */
export const commandEnvironmentSchema = z.record(
  z
    .string()
    .regex(
      /^(?!ADIT_|AUTORESEARCH_)[A-Za-z_][A-Za-z0-9_]{0,127}$/,
      'is no name of an environment variable, or a reserved one (ADIT_, AUTORESEARCH_)',
    ),
  z
    .string()
    .max(32_768)
    .refine((value) => !value.includes('\0'), 'holds a NUL character, which would cut it short'),
);
